//! Milliseconds of one training step through candle's graph with the operators of this crate: `cargo run --release
//! -p tributary-kernels --example graph`. The example `step` runs the same models without a graph; the difference
//! is what the graph costs.

#![expect(clippy::print_stdout, reason = "printing times is what this example is for")]
#![expect(clippy::disallowed_methods, reason = "measuring time is what this example is for")]

use std::time::{Duration, Instant};

use candle_core::{Device, Result, Tensor, Var};
use tributary_kernels::op::{self, Conv2dOptions};
use tributary_kernels::relu::Activation;
use tributary_kernels::window::Window;

fn main() -> Result<()> {
    for batch in [10, 32, 64] {
        let variables = variables(&[&[200, 784], &[200], &[200, 200], &[200], &[10, 200], &[10]])?;
        let (x, labels) = examples(batch, &[784])?;
        report(&format!("2NN, batch {batch}"), 400, || step(&variables, perceptron(&variables, &x)?, &labels))?;
    }
    for batch in [10, 32] {
        let shapes: [&[usize]; 8] =
            [&[32, 1, 5, 5], &[32], &[64, 32, 5, 5], &[64], &[512, 3136], &[512], &[10, 512], &[10]];
        let variables = variables(&shapes)?;
        let (x, labels) = examples(batch, &[1, 28, 28])?;
        report(&format!("CNN, batch {batch}"), 60, || step(&variables, convolutional(&variables, &x)?, &labels))?;
    }
    Ok(())
}

fn report(name: &str, repetitions: usize, mut run: impl FnMut() -> Result<()>) -> Result<()> {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..repetitions {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let [fastest, median] = [times[0], times[times.len() / 2]].map(|t| t.as_secs_f64() * 1e3);
    println!("{name:34} median {median:8.4} ms   fastest {fastest:8.4} ms");
    Ok(())
}

/// Small values of both signs; what they are does not matter to the time, as long as none is denormal.
fn numbers(dims: &[usize]) -> Result<Tensor> {
    let values: Vec<f32> = (0..dims.iter().product::<usize>() as u32)
        .map(|i| ((i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0 - 0.5) * 0.1)
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

fn variables(shapes: &[&[usize]]) -> Result<Vec<Var>> {
    shapes.iter().map(|dims| Var::from_tensor(&numbers(dims)?)).collect()
}

fn examples(batch: usize, dims: &[usize]) -> Result<(Tensor, Tensor)> {
    let labels: Vec<u32> = (0..batch as u32).map(|i| i % 10).collect();
    Ok((numbers(&[&[batch], dims].concat())?, Tensor::new(labels, &Device::Cpu)?))
}

fn perceptron(v: &[Var], x: &Tensor) -> Result<Tensor> {
    let x = op::linear(x, &v[0], Some(&v[1]), Activation::Relu)?;
    let x = op::linear(&x, &v[2], Some(&v[3]), Activation::Relu)?;
    op::linear(&x, &v[4], Some(&v[5]), Activation::Identity)
}

fn convolutional(v: &[Var], x: &Tensor) -> Result<Tensor> {
    let options = Conv2dOptions { padding: [2; 2], activation: Activation::Relu, ..Conv2dOptions::default() };
    let halves = [Window { stride: 2, ..Window::new(2) }; 2];
    let x = op::max_pool2d(&op::conv2d(x, &v[0], Some(&v[1]), options)?, halves)?;
    let x = op::max_pool2d(&op::conv2d(&x, &v[2], Some(&v[3]), options)?, halves)?;
    let x = op::linear(&x.flatten_from(1)?, &v[4], Some(&v[5]), Activation::Relu)?;
    op::linear(&x, &v[6], Some(&v[7]), Activation::Identity)
}

fn step(variables: &[Var], logits: Tensor, labels: &Tensor) -> Result<()> {
    let gradients = op::cross_entropy(&logits, labels)?.backward()?;
    for variable in variables {
        let gradient = gradients.get(variable).expect("every variable is used");
        variable.set(&(variable.as_tensor() - (gradient * 0.01)?)?)?;
    }
    Ok(())
}
