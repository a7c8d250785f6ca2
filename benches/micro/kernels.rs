//! One training kernel at a time, on one thread.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box, black_box_drop};
use tributary_kernels::avg_pool2d::AvgPool2d;
use tributary_kernels::conv2d::{self, Conv2d, Gradients};
use tributary_kernels::embedding::{self, Embedding};
use tributary_kernels::group_norm::{self, GroupNorm};
use tributary_kernels::linear::{self, Linear};
use tributary_kernels::max_pool2d::{self, MaxPool2d};
use tributary_kernels::relu::Activation;
use tributary_kernels::sgd::{self, Momentum, Step};
use tributary_kernels::window::Window;
use tributary_kernels::workspace::Workspace;
use tributary_kernels::{avg_pool2d, cross_entropy, dropout};

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

/// Planes behind the CNN's first convolution, and how they are halved.
const PLANES: usize = 32;
const PLANE: usize = 28 * 28;
const HALVES: [Window; 2] = [Window { kernel: 2, stride: 2, padding: 0, dilation: 1 }; 2];

/// Forward as in training, and backward.
#[divan::bench(args = BATCHES)]
fn max_pool2d_both(bencher: Bencher<'_, '_>, batch: usize) {
    let shape = MaxPool2d { planes: batch * PLANES, input: [28; 2], window: HALVES };
    let (x, mut y) = (numbers(batch * PLANES * PLANE), numbers(batch * PLANES * PLANE / 4));
    let (mut indices, mut dx) = (vec![0; y.len()], x.clone());
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        max_pool2d::forward(shape, black_box(&x), black_box(&mut y), &mut indices);
        max_pool2d::backward(shape, &y, &indices, black_box(&mut dx));
    });
}

/// Forward and backward.
#[divan::bench(args = BATCHES)]
fn avg_pool2d_both(bencher: Bencher<'_, '_>, batch: usize) {
    let shape = AvgPool2d { planes: batch * PLANES, input: [28; 2], window: HALVES };
    let (x, mut y) = (numbers(batch * PLANES * PLANE), numbers(batch * PLANES * PLANE / 4));
    let mut dx = x.clone();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        avg_pool2d::forward(shape, black_box(&x), black_box(&mut y));
        avg_pool2d::backward(shape, &y, black_box(&mut dx));
    });
}

/// Forward and backward; layer and root mean square normalisation are the same loops over other rows.
#[divan::bench(args = BATCHES)]
fn group_norm_both(bencher: Bencher<'_, '_>, batch: usize) {
    let shape = GroupNorm { batch, channels: PLANES, groups: 8, positions: PLANE, epsilon: 1e-5 };
    let (x, weight, bias) = (numbers(batch * PLANES * PLANE), numbers(PLANES), numbers(PLANES));
    let (mut y, mut dx, mut dweight, mut dbias) = (x.clone(), x.clone(), weight.clone(), bias.clone());
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        group_norm::forward(shape, Activation::Relu, black_box(&x), &weight, &bias, black_box(&mut y));
        let all = Gradients { input: Some(&mut dx), weight: Some(&mut dweight), bias: Some(&mut dbias) };
        group_norm::backward(shape, &x, &weight, &y, all);
        black_box_drop(&mut dx);
    });
}

/// Sentences of 64 words from a table of 10,000: forward, and the step of the rows that were read.
#[divan::bench(args = BATCHES)]
fn embedding_both(bencher: Bencher<'_, '_>, batch: usize) {
    let shape = Embedding { count: 10_000, size: 64 };
    let places: Vec<u32> = (0_u32..10_000).map(|i| i * 37 % 10_000).cycle().take(batch * 64).collect();
    let (mut table, mut y) = (numbers(640_000), numbers(batch * 64 * 64));
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        embedding::forward(shape, black_box(&places), &table, black_box(&mut y));
        embedding::backward_update(shape, STEP, &places, &y, black_box(&mut table));
    });
}

/// The factors from numbers that were drawn, and their product with the values, behind the first layer of the 2NN.
#[divan::bench(args = BATCHES)]
fn dropout_forward(bencher: Bencher<'_, '_>, batch: usize) {
    let uniform: Vec<f32> = numbers(batch * 200).into_iter().map(|value| value * 10.0 + 0.5).collect();
    let (mut mask, mut x) = (numbers(uniform.len()), numbers(uniform.len()));
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        dropout::mask(black_box(&uniform), 0.5, &mut mask);
        dropout::apply(&mask, black_box(&mut x));
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
