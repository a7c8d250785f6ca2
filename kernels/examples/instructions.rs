//! The hot kernels, each a few times, for counting instructions: `benches/instructions.sh` runs this program under
//! callgrind and compares the counts with the recorded ones.
//!
//! `instructions` prints the names, `instructions NAME TIMES` runs one kernel. Two runs of different length differ by
//! the kernel alone, so that start and preparation need no separating. Shapes are small, because callgrind is fifty
//! times slower than the machine, and large enough for the loops to be most of the count.

#![expect(clippy::print_stdout, reason = "printing names is what this example is for")]

use std::hint::black_box;

use tributary_kernels::avg_pool2d::{self, AvgPool2d};
use tributary_kernels::conv2d::{self, Conv2d};
use tributary_kernels::embedding::{self, Embedding};
use tributary_kernels::fold::{self, Term};
use tributary_kernels::group_norm::{self, GroupNorm};
use tributary_kernels::layer_norm::{self, Gradients, LayerNorm};
use tributary_kernels::linear::{self, Linear};
use tributary_kernels::max_pool2d::{self, MaxPool2d};
use tributary_kernels::relu::Activation;
use tributary_kernels::rms_norm::{self, RmsNorm};
use tributary_kernels::sgd::{self, Momentum, Step};
use tributary_kernels::window::Window;
use tributary_kernels::workspace::Workspace;
use tributary_kernels::{cross_entropy, divide, dropout};

const STEP: Step<f32> = Step { learning_rate: 0.01, weight_decay: 0.0 };
const LINEAR: Linear = Linear { batch: 32, inputs: 784, outputs: 200 };
const HALVES: [Window; 2] = [Window { kernel: 2, stride: 2, padding: 0, dilation: 1 }; 2];
/// Planes of 14 × 14, as many as a small batch has behind its second convolution.
const PLANES: usize = 128;
const SIDE: usize = 14;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (name, times) = (arguments.next(), arguments.next().and_then(|times| times.parse().ok()));
    match (name, times) {
        (Some(name), Some(times)) => {
            let row = KERNELS.iter().find(|(known, _)| *known == name);
            let (_, run) = row.expect("a name that `instructions` prints");
            run(times);
        }
        _ => KERNELS.iter().for_each(|(name, _)| println!("{name}")),
    }
}

/// Does a kernel's work so many times.
type Kernel = fn(u32);

/// Every kernel by its name.
const KERNELS: &[(&str, Kernel)] = &[
    ("avg_pool2d", avg_pool2d),
    ("avg_pool2d_backward", avg_pool2d_backward),
    ("conv2d", conv2d),
    ("conv2d_backward", conv2d_backward),
    ("cross_entropy", cross_entropy),
    ("divide_bytes", divide_bytes),
    ("dropout", dropout),
    ("embedding", embedding),
    ("embedding_update", embedding_update),
    ("fold", fold),
    ("fold_small", fold_small),
    ("group_norm", group_norm),
    ("group_norm_backward", group_norm_backward),
    ("layer_norm", layer_norm),
    ("layer_norm_backward", layer_norm_backward),
    ("linear", linear),
    ("linear_update", linear_update),
    ("max_pool2d", max_pool2d),
    ("max_pool2d_backward", max_pool2d_backward),
    ("max_pool2d_maxima", max_pool2d_maxima),
    ("rms_norm", rms_norm),
    ("rms_norm_backward", rms_norm_backward),
    ("sgd_momentum", sgd_momentum),
];

/// Small values of both signs.
fn numbers(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| ((i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0 - 0.5) * 0.1).collect()
}

fn repeat(times: u32, mut kernel: impl FnMut()) {
    (0..times).for_each(|_| kernel());
}

fn avg_pool2d(times: u32) {
    let shape = AvgPool2d { planes: PLANES, input: [SIDE; 2], window: HALVES };
    let (x, mut y) = (numbers(PLANES * SIDE * SIDE), numbers(PLANES * SIDE * SIDE / 4));
    repeat(times, || avg_pool2d::forward(shape, black_box(&x), black_box(&mut y)));
}

fn avg_pool2d_backward(times: u32) {
    let shape = AvgPool2d { planes: PLANES, input: [SIDE; 2], window: HALVES };
    let (dy, mut dx) = (numbers(PLANES * SIDE * SIDE / 4), numbers(PLANES * SIDE * SIDE));
    repeat(times, || avg_pool2d::backward(shape, black_box(&dy), black_box(&mut dx)));
}

const fn convolution() -> Conv2d {
    let window = [Window { kernel: 5, stride: 1, padding: 2, dilation: 1 }; 2];
    Conv2d { batch: 2, in_channels: 8, out_channels: 16, input: [SIDE; 2], window, groups: 1 }
}

fn conv2d(times: u32) {
    let shape = convolution();
    let (x, weight, bias) = (numbers(2 * 8 * SIDE * SIDE), numbers(shape.weight_len()), numbers(16));
    let (mut y, mut workspace) = (numbers(2 * 16 * SIDE * SIDE), Workspace::new());
    let activation = Activation::Relu;
    repeat(times, || {
        conv2d::forward(shape, activation, black_box(&x), &weight, Some(&bias), black_box(&mut y), &mut workspace);
    });
}

fn conv2d_backward(times: u32) {
    let shape = convolution();
    let (x, weight, dy) = (numbers(2 * 8 * SIDE * SIDE), numbers(shape.weight_len()), numbers(2 * 16 * SIDE * SIDE));
    let (mut dx, mut dweight, mut dbias) = (x.clone(), weight.clone(), numbers(16));
    let mut workspace = Workspace::new();
    repeat(times, || {
        let all = Gradients { input: Some(&mut dx), weight: Some(&mut dweight), bias: Some(&mut dbias) };
        conv2d::backward(shape, black_box(&x), &weight, black_box(&dy), all, &mut workspace);
    });
}

fn cross_entropy(times: u32) {
    let (logits, mut gradient) = (numbers(640), numbers(640));
    let labels: Vec<u32> = (0..64).map(|i| i % 10).collect();
    repeat(times, || _ = black_box(cross_entropy::loss(10, black_box(&logits), &labels, Some(&mut gradient))));
}

/// The factors from numbers that the caller drew, and their product with the values.
fn dropout(times: u32) {
    let uniform: Vec<f32> = (0..16_384_u16).map(|i| f32::from(i.wrapping_mul(40_503)) / 65_536.0).collect();
    let (mut mask, mut x) = (numbers(uniform.len()), numbers(uniform.len()));
    repeat(times, || {
        dropout::mask(black_box(&uniform), 0.5, &mut mask);
        dropout::apply(&mask, black_box(&mut x));
    });
}

fn embedding(times: u32) {
    let shape = Embedding { count: 1000, size: 64 };
    let indices: Vec<u32> = (0..512).map(|i| i * 37 % 1000).collect();
    let (table, mut y) = (numbers(64_000), numbers(512 * 64));
    repeat(times, || embedding::forward(shape, black_box(&indices), black_box(&table), black_box(&mut y)));
}

fn embedding_update(times: u32) {
    let shape = Embedding { count: 1000, size: 64 };
    let indices: Vec<u32> = (0..512).map(|i| i * 37 % 1000).collect();
    let (dy, mut table) = (numbers(512 * 64), numbers(64_000));
    repeat(times, || {
        embedding::backward_update(shape, STEP, black_box(&indices), black_box(&dy), black_box(&mut table));
    });
}

fn fold(times: u32) {
    let (mut sum, delta) = (vec![0_i64; 65_536], numbers(65_536));
    let term = Term::new(40, 600, 0.05);
    repeat(times, || fold::fold_f32(black_box(&mut sum), black_box(&delta), term));
}

fn fold_small(times: u32) {
    let (mut sum, delta) = (vec![0_i64; 65_536], numbers(65_536));
    repeat(times, || {
        _ = fold::fold_small_f32(black_box(&mut sum), [&delta[..]; fold::TOGETHER], 40, [600; fold::TOGETHER])
    });
}

const GROUP: GroupNorm = GroupNorm { batch: 8, channels: 16, groups: 4, positions: SIDE * SIDE, epsilon: 1e-5 };

fn group_norm(times: u32) {
    let (x, weight, bias) = (numbers(PLANES * SIDE * SIDE), numbers(16), numbers(16));
    let mut y = x.clone();
    repeat(times, || {
        group_norm::forward(GROUP, Activation::Relu, black_box(&x), &weight, &bias, black_box(&mut y));
    });
}

fn group_norm_backward(times: u32) {
    let (x, weight, dy) = (numbers(PLANES * SIDE * SIDE), numbers(16), numbers(PLANES * SIDE * SIDE));
    let (mut dx, mut dweight, mut dbias) = (x.clone(), weight.clone(), weight.clone());
    repeat(times, || {
        let all = Gradients { input: Some(&mut dx), weight: Some(&mut dweight), bias: Some(&mut dbias) };
        group_norm::backward(GROUP, black_box(&x), &weight, black_box(&dy), all);
    });
}

const ROWS: LayerNorm = LayerNorm { rows: 64, size: 256, epsilon: 1e-5 };

fn layer_norm(times: u32) {
    let (x, weight, bias) = (numbers(64 * 256), numbers(256), numbers(256));
    let mut y = x.clone();
    repeat(times, || {
        layer_norm::forward(ROWS, Activation::Identity, black_box(&x), &weight, &bias, black_box(&mut y));
    });
}

fn layer_norm_backward(times: u32) {
    let (x, weight, dy) = (numbers(64 * 256), numbers(256), numbers(64 * 256));
    let (mut dx, mut dweight, mut dbias) = (x.clone(), weight.clone(), weight.clone());
    repeat(times, || {
        let all = Gradients { input: Some(&mut dx), weight: Some(&mut dweight), bias: Some(&mut dbias) };
        layer_norm::backward(ROWS, black_box(&x), &weight, black_box(&dy), all);
    });
}

fn linear(times: u32) {
    let Linear { batch, inputs, outputs } = LINEAR;
    let (x, weight, bias) = (numbers(batch * inputs), numbers(inputs * outputs), numbers(outputs));
    let mut y = numbers(batch * outputs);
    repeat(times, || {
        linear::forward(LINEAR, Activation::Relu, black_box(&x), &weight, Some(&bias), black_box(&mut y));
    });
}

fn linear_update(times: u32) {
    let Linear { batch, inputs, outputs } = LINEAR;
    let (x, dy, mut dx) = (numbers(batch * inputs), numbers(batch * outputs), numbers(batch * inputs));
    let (mut weight, mut bias) = (numbers(inputs * outputs), numbers(outputs));
    repeat(times, || {
        let (weight, bias) = (black_box(&mut weight), Some(&mut bias[..]));
        linear::backward_update(LINEAR, STEP, black_box(&x), black_box(&dy), weight, bias, Some(&mut dx));
    });
}

const POOL: MaxPool2d = MaxPool2d { planes: PLANES, input: [SIDE; 2], window: HALVES };

fn max_pool2d(times: u32) {
    let (x, mut y) = (numbers(PLANES * SIDE * SIDE), numbers(PLANES * SIDE * SIDE / 4));
    let mut indices = vec![0; y.len()];
    repeat(times, || max_pool2d::forward(POOL, black_box(&x), black_box(&mut y), black_box(&mut indices)));
}

fn max_pool2d_backward(times: u32) {
    let (x, mut y) = (numbers(PLANES * SIDE * SIDE), numbers(PLANES * SIDE * SIDE / 4));
    let (mut indices, mut dx) = (vec![0; y.len()], x.clone());
    max_pool2d::forward(POOL, &x, &mut y, &mut indices);
    repeat(times, || max_pool2d::backward(POOL, black_box(&y), black_box(&indices), black_box(&mut dx)));
}

fn max_pool2d_maxima(times: u32) {
    let (x, mut y) = (numbers(PLANES * SIDE * SIDE), numbers(PLANES * SIDE * SIDE / 4));
    repeat(times, || max_pool2d::maxima(POOL, black_box(&x), black_box(&mut y)));
}

const SQUARES: RmsNorm = RmsNorm { rows: 64, size: 256, epsilon: 1e-6 };

fn rms_norm_backward(times: u32) {
    let (x, weight, dy) = (numbers(64 * 256), numbers(256), numbers(64 * 256));
    let (mut dx, mut dweight) = (x.clone(), weight.clone());
    repeat(times, || {
        let all = Gradients { input: Some(&mut dx), weight: Some(&mut dweight), bias: None };
        rms_norm::backward(SQUARES, black_box(&x), &weight, black_box(&dy), all);
    });
}

fn rms_norm(times: u32) {
    let (x, weight) = (numbers(64 * 256), numbers(256));
    let mut y = x.clone();
    repeat(times, || rms_norm::forward(SQUARES, Activation::Identity, black_box(&x), &weight, black_box(&mut y)));
}

fn divide_bytes(times: u32) {
    let bytes: Vec<u8> = (0..25_088_u32).map(|i| (i % 251) as u8).collect();
    let mut out = numbers(bytes.len());
    repeat(times, || divide::bytes(black_box(&bytes), 255.0, black_box(&mut out)));
}

fn sgd_momentum(times: u32) {
    let (mut weights, gradient, mut velocity) = (numbers(65_536), numbers(65_536), numbers(65_536));
    let momentum = Momentum { factor: 0.9, nesterov: false };
    repeat(times, || {
        let (gradient, velocity) = (black_box(&gradient[..]), &mut velocity[..]);
        sgd::update_with_momentum(STEP, momentum, black_box(&mut weights), gradient, velocity);
    });
}
