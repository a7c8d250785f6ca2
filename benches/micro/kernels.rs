//! One training kernel at a time, on one thread.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box, black_box_drop};
use tributary_kernels::conv2d::{self, Conv2d, Gradients};
use tributary_kernels::cross_entropy;
use tributary_kernels::linear::{self, Linear};
use tributary_kernels::relu::Activation;
use tributary_kernels::sgd::{self, Momentum, Step};
use tributary_kernels::window::Window;
use tributary_kernels::workspace::Workspace;

/// Examples of a batch.
const BATCHES: [usize; 3] = [10, 32, 64];

/// So small that weights stay finite however often they are updated.
const STEP: Step<f32> = Step { learning_rate: 1e-12, weight_decay: 0.0 };

/// Small values of both signs.
fn numbers(len: usize) -> Vec<f32> {
    (0_u16..=u16::MAX).cycle().take(len).map(|i| (f32::from(i.wrapping_mul(40_503)) / 65_536.0 - 0.5) * 0.1).collect()
}

/// The first layer of the 2NN.
const fn first(batch: usize) -> Linear {
    Linear { batch, inputs: 784, outputs: 200 }
}

/// The second convolution of the CNN.
const fn second(batch: usize) -> Conv2d {
    let window = [Window { kernel: 5, stride: 1, padding: 2, dilation: 1 }; 2];
    Conv2d { batch, in_channels: 32, out_channels: 64, input: [14; 2], window, groups: 1 }
}

#[divan::bench(args = BATCHES)]
fn linear_forward(bencher: Bencher<'_, '_>, batch: usize) {
    let shape = first(batch);
    let (x, weight, bias) = (numbers(batch * 784), numbers(784 * 200), numbers(200));
    let mut y = numbers(batch * 200);
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        linear::forward(shape, Activation::Relu, black_box(&x), &weight, Some(&bias), black_box(&mut y));
    });
}

/// The gradient of the input, and the step of the weights in the same pass.
#[divan::bench(args = BATCHES)]
fn linear_backward_update(bencher: Bencher<'_, '_>, batch: usize) {
    let shape = first(batch);
    let (x, dy, mut dx) = (numbers(batch * 784), numbers(batch * 200), numbers(batch * 784));
    let (mut weight, mut bias) = (numbers(784 * 200), numbers(200));
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        let (weight, bias) = (black_box(&mut weight[..]), Some(&mut bias[..]));
        linear::backward_update(shape, STEP, black_box(&x), black_box(&dy), weight, bias, Some(&mut dx));
    });
}

#[divan::bench(args = BATCHES, sample_count = 20)]
fn conv2d_forward(bencher: Bencher<'_, '_>, batch: usize) {
    let shape = second(batch);
    let (x, weight, bias) = (numbers(batch * 32 * 196), numbers(shape.weight_len()), numbers(64));
    let (mut y, mut workspace) = (numbers(batch * 64 * 196), Workspace::new());
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        let y = black_box(&mut y[..]);
        conv2d::forward(shape, Activation::Relu, black_box(&x), &weight, Some(&bias), y, &mut workspace);
    });
}

#[divan::bench(args = BATCHES, sample_count = 20)]
fn conv2d_backward(bencher: Bencher<'_, '_>, batch: usize) {
    let shape = second(batch);
    let (x, weight, dy) = (numbers(batch * 32 * 196), numbers(shape.weight_len()), numbers(batch * 64 * 196));
    let (mut dx, mut dweight, mut dbias) = (x.clone(), weight.clone(), numbers(64));
    let mut workspace = Workspace::new();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        let all = Gradients { input: Some(&mut dx), weight: Some(&mut dweight), bias: Some(&mut dbias) };
        conv2d::backward(shape, black_box(&x), &weight, black_box(&dy), all, &mut workspace);
    });
}

#[divan::bench(args = BATCHES)]
fn softmax_cross_entropy(bencher: Bencher<'_, '_>, batch: usize) {
    let (logits, mut gradient) = (numbers(batch * 10), numbers(batch * 10));
    let labels: Vec<u32> = (0..10).cycle().take(batch).collect();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        black_box_drop(cross_entropy::loss(10, black_box(&logits), &labels, Some(&mut gradient)));
    });
}

/// Over the parameters of the 2NN.
#[divan::bench]
fn sgd_momentum(bencher: Bencher<'_, '_>) {
    let count = 199_210;
    let (mut weights, gradient, mut velocity) = (numbers(count), numbers(count), numbers(count));
    let momentum = Momentum { factor: 0.9, nesterov: false };
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        sgd::update_with_momentum(STEP, momentum, black_box(&mut weights), &gradient, &mut velocity);
    });
}
