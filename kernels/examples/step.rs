//! Milliseconds of one training step (forward, loss, backward, SGD) on one thread: `cargo run --release -p
//! tributary-kernels --example step`. Prints the median and the fastest of many steps for the two reference models:
//! the perceptron 784-200-200-10 ("2NN") and the convolutional network of 1,663,370 parameters ("CNN").

#![expect(clippy::print_stdout, reason = "printing times is what this example is for")]
#![expect(clippy::disallowed_methods, reason = "measuring time is what this example is for")]

use std::time::{Duration, Instant};

use tributary_kernels::conv2d::{self, Conv2d};
use tributary_kernels::linear::{self, Linear};
use tributary_kernels::max_pool2d::{self, MaxPool2d};
use tributary_kernels::relu::{self, Activation};
use tributary_kernels::sgd::{self, Step};
use tributary_kernels::window::Window;
use tributary_kernels::workspace::Workspace;
use tributary_kernels::{cross_entropy, fold};

const STEP: Step<f32> = Step { learning_rate: 0.01, weight_decay: 0.0 };

fn main() {
    for batch in [10, 32, 64] {
        let mut model = Perceptron::new(batch, &[784, 200, 200, 10]);
        report(&format!("2NN, batch {batch}"), 400, || model.step());
    }
    let mut model = Perceptron::new(10, &[784, 10]);
    report("softmax regression, batch 10", 400, || model.step());
    for batch in [10, 32] {
        let mut model = Convolutional::new(batch);
        report(&format!("CNN, batch {batch}"), 60, || model.step());
        model.report_parts();
    }
    for batch in [100, 200, 500] {
        let mut model = Perceptron::new(batch, &[784, 200, 200, 10]);
        report(&format!("2NN, 10,000 forward by {batch}"), 20, || (0..10_000 / batch).for_each(|_| model.forward()));
    }
    for batch in [20, 50, 100] {
        let mut model = Convolutional::new(batch);
        report(&format!("CNN, 1,000 forward by {batch}"), 10, || (0..1_000 / batch).for_each(|_| model.forward()));
    }
    let (mut sum, delta) = (vec![0_i64; 1_663_370], numbers(1, 1_663_370));
    let term = fold::Term::new(40, 600, 0.05);
    report("fold of 1,663,370 parameters", 60, || fold::fold_f32(&mut sum, &delta, term));
    let (mut sum, delta) = (vec![0_f32; 1_663_370], numbers(1, 1_663_370));
    report("plain f32 addition of as many", 60, || sum.iter_mut().zip(&delta).for_each(|(s, &d)| *s += d));
}

fn report(name: &str, repetitions: usize, mut run: impl FnMut()) {
    let mut times: Vec<Duration> = (0..repetitions + repetitions / 10)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .skip(repetitions / 10)
        .collect();
    times.sort_unstable();
    let [fastest, median] = [times[0], times[times.len() / 2]].map(|t| t.as_secs_f64() * 1e3);
    println!("{name:34} median {median:8.4} ms   fastest {fastest:8.4} ms");
}

/// Small values of both signs; what they are does not matter to the time, as long as none is denormal.
fn numbers(seed: u32, len: usize) -> Vec<f32> {
    (0..len as u32)
        .map(|i| {
            let hash = (i ^ (seed << 20)).wrapping_mul(2_654_435_761) >> 8;
            (hash as f32 / 16_777_216.0 - 0.5) * 0.1
        })
        .collect()
}

fn labels(batch: usize) -> Vec<u32> {
    (0..batch as u32).map(|i| i % 10).collect()
}

/// A fully connected layer with what its backward pass needs.
struct Dense {
    shape: Linear,
    activation: Activation,
    weight: Vec<f32>,
    bias: Vec<f32>,
    y: Vec<f32>,
    dy: Vec<f32>,
}

impl Dense {
    fn new(shape: Linear, activation: Activation) -> Self {
        let Linear { batch, inputs, outputs } = shape;
        let y = vec![0.0; batch * outputs];
        Self { shape, activation, weight: numbers(2, inputs * outputs), bias: vec![0.0; outputs], dy: y.clone(), y }
    }

    fn forward(&mut self, x: &[f32]) {
        linear::forward(self.shape, self.activation, x, &self.weight, Some(&self.bias), &mut self.y);
    }

    fn backward(&mut self, x: &[f32], dx: Option<&mut [f32]>) {
        self.activation.backward(&self.y, &mut self.dy);
        linear::backward_update(self.shape, STEP, x, &self.dy, &mut self.weight, Some(&mut self.bias), dx);
    }
}

struct Perceptron {
    x: Vec<f32>,
    labels: Vec<u32>,
    layers: Vec<Dense>,
}

impl Perceptron {
    fn new(batch: usize, sizes: &[usize]) -> Self {
        let layers = sizes
            .windows(2)
            .enumerate()
            .map(|(i, pair)| {
                let activation = if i + 2 < sizes.len() { Activation::Relu } else { Activation::Identity };
                Dense::new(Linear { batch, inputs: pair[0], outputs: pair[1] }, activation)
            })
            .collect();
        Self { x: numbers(3, batch * sizes[0]), labels: labels(batch), layers }
    }

    fn forward(&mut self) {
        for i in 0..self.layers.len() {
            let (before, rest) = self.layers.split_at_mut(i);
            rest[0].forward(before.last().map_or(&self.x, |layer| &layer.y));
        }
    }

    fn step(&mut self) {
        self.forward();
        let last = self.layers.last_mut().expect("there is a layer");
        let _ = cross_entropy::loss(10, &last.y, &self.labels, Some(&mut last.dy));
        for i in (0..self.layers.len()).rev() {
            let (before, rest) = self.layers.split_at_mut(i);
            match before.last_mut() {
                Some(layer) => rest[0].backward(&layer.y, Some(&mut layer.dy)),
                None => rest[0].backward(&self.x, None),
            }
        }
    }
}

/// A 5 × 5 convolution with ReLU and the 2 × 2 maximum after it.
struct Stage {
    conv: Conv2d,
    pool: MaxPool2d,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dw: Vec<f32>,
    db: Vec<f32>,
    y: Vec<f32>,
    dy: Vec<f32>,
    indices: Vec<u32>,
    pooled: Vec<f32>,
    dpooled: Vec<f32>,
}

impl Stage {
    fn new(batch: usize, in_channels: usize, out_channels: usize, size: usize) -> Self {
        let window = [Window { padding: 2, ..Window::new(5) }; 2];
        let conv = Conv2d { batch, in_channels, out_channels, input: [size; 2], window, groups: 1 };
        let window = [Window { stride: 2, ..Window::new(2) }; 2];
        let pool = MaxPool2d { planes: batch * out_channels, input: [size; 2], window };
        let y = vec![0.0; batch * out_channels * size * size];
        let pooled = vec![0.0; y.len() / 4];
        Self {
            conv,
            pool,
            weight: numbers(4, conv.weight_len()),
            bias: vec![0.0; out_channels],
            dw: vec![0.0; conv.weight_len()],
            db: vec![0.0; out_channels],
            dy: y.clone(),
            y,
            indices: vec![0; pooled.len()],
            dpooled: pooled.clone(),
            pooled,
        }
    }

    fn forward(&mut self, x: &[f32], workspace: &mut Workspace<f32>) {
        self.convolve(x, workspace);
        self.pool();
    }

    fn convolve(&mut self, x: &[f32], workspace: &mut Workspace<f32>) {
        let (relu, bias) = (Activation::Relu, Some(&self.bias[..]));
        conv2d::forward(self.conv, relu, x, &self.weight, bias, &mut self.y, workspace);
    }

    fn pool(&mut self) {
        max_pool2d::forward(self.pool, &self.y, &mut self.pooled, &mut self.indices);
    }

    fn unpool(&mut self) {
        max_pool2d::backward(self.pool, &self.dpooled, &self.indices, &mut self.dy);
        relu::backward(&self.y, &mut self.dy);
    }

    fn backward(&mut self, x: &[f32], dx: Option<&mut [f32]>, workspace: &mut Workspace<f32>) {
        self.unpool();
        let gradients = conv2d::Gradients { input: dx, weight: Some(&mut self.dw), bias: Some(&mut self.db) };
        conv2d::backward(self.conv, x, &self.weight, &self.dy, gradients, workspace);
        sgd::update(STEP, &mut self.weight, &self.dw);
        sgd::update(STEP, &mut self.bias, &self.db);
    }
}

struct Convolutional {
    x: Vec<f32>,
    labels: Vec<u32>,
    first: Stage,
    second: Stage,
    hidden: Dense,
    last: Dense,
    workspace: Workspace<f32>,
}

impl Convolutional {
    fn new(batch: usize) -> Self {
        Self {
            x: numbers(3, batch * 784),
            labels: labels(batch),
            first: Stage::new(batch, 1, 32, 28),
            second: Stage::new(batch, 32, 64, 14),
            hidden: Dense::new(Linear { batch, inputs: 3136, outputs: 512 }, Activation::Relu),
            last: Dense::new(Linear { batch, inputs: 512, outputs: 10 }, Activation::Identity),
            workspace: Workspace::new(),
        }
    }

    fn forward(&mut self) {
        self.first.forward(&self.x, &mut self.workspace);
        self.second.forward(&self.first.pooled, &mut self.workspace);
        self.hidden.forward(&self.second.pooled);
        self.last.forward(&self.hidden.y);
    }

    fn step(&mut self) {
        self.forward();
        let _ = cross_entropy::loss(10, &self.last.y, &self.labels, Some(&mut self.last.dy));
        self.last.backward(&self.hidden.y, Some(&mut self.hidden.dy));
        self.hidden.backward(&self.second.pooled, Some(&mut self.second.dpooled));
        self.second.backward(&self.first.pooled, Some(&mut self.first.dpooled), &mut self.workspace);
        self.first.backward(&self.x, None, &mut self.workspace);
    }

    fn report_parts(&mut self) {
        let Self { x, first, second, hidden, workspace, .. } = self;
        report("  first convolution", 60, || first.convolve(x, workspace));
        report("  first pooling", 60, || first.pool());
        report("  second convolution", 60, || second.convolve(&first.pooled, workspace));
        report("  second pooling", 60, || second.pool());
        report("  hidden layer", 60, || hidden.forward(&second.pooled));
        report("  hidden layer back", 60, || hidden.backward(&second.pooled, Some(&mut second.dpooled)));
        report("  second pooling back", 60, || second.unpool());
        report("  second stage back", 60, || second.backward(&first.pooled, Some(&mut first.dpooled), workspace));
        report("  first stage back", 60, || first.backward(x, None, workspace));
    }
}
