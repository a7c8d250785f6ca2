//! Every training kernel, forward and backward, over an odd shape and in either precision: what tests hold against each
//! other. Each case returns all that its kernel writes.

use crate::avg_pool2d::{self, AvgPool2d};
use crate::conv2d::{self, Conv2d};
use crate::embedding::{self, Embedding};
use crate::finite_difference::{assert_close, values};
use crate::gradients::Gradients;
use crate::group_norm::{self, GroupNorm};
use crate::layer_norm::{self, LayerNorm};
use crate::linear::{self, Linear};
use crate::max_pool2d::{self, MaxPool2d};
use crate::real::Real;
use crate::relu::Activation;
use crate::rms_norm::{self, RmsNorm};
use crate::window::Window;
use crate::workspace::Workspace;
use crate::{cross_entropy, divide, widest};

type Case = fn() -> Vec<f64>;

/// Name, single precision, double precision, and how far they may be apart: a unit is 2^-24, what rounding to single
/// precision leaves of a number below one, and so many of them come together on the longest way to a result.
const CASES: [(&str, Case, Case, f64); 10] = [
    ("avg_pool2d", avg_pool2d::<f32>, avg_pool2d::<f64>, 32.0),
    ("conv2d", conv2d::<f32>, conv2d::<f64>, 256.0),
    ("cross_entropy", cross_entropy::<f32>, cross_entropy::<f64>, 16.0),
    ("divide", divide::<f32>, divide::<f64>, 1.0),
    ("embedding", embedding::<f32>, embedding::<f64>, 8.0),
    ("group_norm", group_norm::<f32>, group_norm::<f64>, 64.0),
    ("layer_norm", layer_norm::<f32>, layer_norm::<f64>, 64.0),
    ("linear", linear::<f32>, linear::<f64>, 64.0),
    ("max_pool2d", max_pool2d::<f32>, max_pool2d::<f64>, 16.0),
    ("rms_norm", rms_norm::<f32>, rms_norm::<f64>, 64.0),
];

/// Numbers that both precisions hold.
fn numbers<T: Real>(seed: u64, len: usize) -> Vec<T> {
    values(seed, len).into_iter().map(|value| T::from_f64(f64::from(value as f32))).collect()
}

fn all<T: Real>(written: &[&[T]]) -> Vec<f64> {
    written.concat().into_iter().map(T::to_f64).collect()
}

const WINDOW: [Window; 2] = [
    Window { kernel: 3, stride: 2, padding: 1, dilation: 1 },
    Window { kernel: 2, stride: 1, padding: 1, dilation: 2 },
];

fn avg_pool2d<T: Real>() -> Vec<f64> {
    let shape = AvgPool2d { planes: 3, input: [7, 9], window: WINDOW };
    let outputs = 3 * shape.output().expect("the windows fit").iter().product::<usize>();
    let (x, dy) = (numbers::<T>(1, 3 * 63), numbers(2, outputs));
    let (mut y, mut dx) = (dy.clone(), x.clone());
    avg_pool2d::forward(shape, &x, &mut y);
    avg_pool2d::backward(shape, &dy, &mut dx);
    all(&[&y, &dx])
}

fn conv2d<T: Real>() -> Vec<f64> {
    let shape = Conv2d { batch: 2, in_channels: 4, out_channels: 6, input: [7, 9], window: WINDOW, groups: 2 };
    let outputs = 12 * shape.output().expect("the windows fit").iter().product::<usize>();
    let (x, weight, bias) = (numbers::<T>(1, 8 * 63), numbers(2, shape.weight_len()), numbers(3, 6));
    let dy = numbers(4, outputs);
    let (mut y, mut workspace) = (dy.clone(), Workspace::new());
    conv2d::forward(shape, Activation::Relu, &x, &weight, Some(&bias), &mut y, &mut workspace);
    let [mut dx, mut dw, mut db] = [&x, &weight, &bias].map(Clone::clone);
    let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db) };
    conv2d::backward(shape, &x, &weight, &dy, gradients, &mut workspace);
    all(&[&y, &dx, &dw, &db])
}

fn cross_entropy<T: Real>() -> Vec<f64> {
    let logits = numbers::<T>(1, 7 * 5);
    let mut gradient = logits.clone();
    let loss = cross_entropy::loss(7, &logits, &[6, 0, 3, 3, 1], Some(&mut gradient));
    [all(&[&gradient]), vec![loss]].concat()
}

fn divide<T: Real + From<u8>>() -> Vec<f64> {
    let mut out = vec![T::ZERO; 255];
    divide::bytes(&(1..=255).collect::<Vec<_>>(), T::from_f64(255.0), &mut out);
    all(&[&out])
}

fn embedding<T: Real>() -> Vec<f64> {
    let (shape, places) = (Embedding { count: 5, size: 7 }, [4, 0, 4, 4, 2, 0]);
    let (table, dy) = (numbers::<T>(1, 35), numbers(2, 42));
    let (mut y, mut dtable) = (dy.clone(), table.clone());
    embedding::forward(shape, &places, &table, &mut y);
    embedding::backward(shape, &places, &dy, &mut dtable);
    all(&[&y, &dtable])
}

fn group_norm<T: Real>() -> Vec<f64> {
    let shape = GroupNorm { batch: 2, channels: 6, groups: 2, positions: 13, epsilon: 1e-3 };
    normalised::<T>(2 * 6 * 13, 6, |x, weight, bias, y, dy, gradients| {
        group_norm::forward(shape, Activation::Relu, x, weight, bias, y);
        group_norm::backward(shape, x, weight, dy, gradients);
    })
}

fn layer_norm<T: Real>() -> Vec<f64> {
    let shape = LayerNorm { rows: 3, size: 37, epsilon: 1e-3 };
    normalised::<T>(3 * 37, 37, |x, weight, bias, y, dy, gradients| {
        layer_norm::forward(shape, Activation::Identity, x, weight, bias, y);
        layer_norm::backward(shape, x, weight, dy, gradients);
    })
}

fn rms_norm<T: Real>() -> Vec<f64> {
    let shape = RmsNorm { rows: 3, size: 37, epsilon: 1e-3 };
    normalised::<T>(3 * 37, 37, |x, weight, _, y, dy, gradients| {
        rms_norm::forward(shape, Activation::Identity, x, weight, y);
        rms_norm::backward(shape, x, weight, dy, Gradients { bias: None, ..gradients });
    })
}

/// What a normalisation of so many values and parameters writes.
fn normalised<T: Real>(
    len: usize,
    parameters: usize,
    run: impl Fn(&[T], &[T], &[T], &mut [T], &[T], Gradients<'_, T>),
) -> Vec<f64> {
    let (x, dy) = (numbers::<T>(1, len), numbers(4, len));
    let (weight, bias) = (numbers(2, parameters), numbers(3, parameters));
    let (mut y, mut dx, mut dw, mut db) = (x.clone(), x.clone(), weight.clone(), bias.clone());
    let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db) };
    run(&x, &weight, &bias, &mut y, &dy, gradients);
    all(&[&y, &dx, &dw, &db])
}

fn linear<T: Real>() -> Vec<f64> {
    let shape = Linear { batch: 5, inputs: 67, outputs: 9 };
    let (x, weight, bias) = (numbers::<T>(1, 5 * 67), numbers(2, 9 * 67), numbers(3, 9));
    let dy = numbers(4, 45);
    let mut y = dy.clone();
    linear::forward(shape, Activation::Relu, &x, &weight, Some(&bias), &mut y);
    let [mut dx, mut dw, mut db] = [&x, &weight, &bias].map(Clone::clone);
    let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db) };
    linear::backward(shape, &x, &weight, &dy, gradients);
    all(&[&y, &dx, &dw, &db])
}

/// Through the general path, and through the one for halves with its maxima alone.
fn max_pool2d<T: Real>() -> Vec<f64> {
    let mut written = Vec::new();
    for window in [WINDOW, [Window { stride: 2, ..Window::new(2) }; 2]] {
        let shape = MaxPool2d { planes: 3, input: [7, 9], window };
        let outputs = 3 * shape.output().expect("the windows fit").iter().product::<usize>();
        let (x, dy) = (numbers::<T>(1, 3 * 63), numbers(2, outputs));
        let (mut y, mut alone, mut indices, mut dx) = (dy.clone(), dy.clone(), vec![0; outputs], x.clone());
        max_pool2d::forward(shape, &x, &mut y, &mut indices);
        max_pool2d::maxima(shape, &x, &mut alone);
        max_pool2d::backward(shape, &dy, &indices, &mut dx);
        written.extend(all(&[&y, &alone, &dx]));
    }
    written
}

/// Double precision is what differences and definitions hold; most training is in single precision.
#[test]
fn single_precision_is_double_precision_within_rounding() {
    for (name, single, double, units) in CASES {
        let (single, double) = (single(), double());
        assert!(double.iter().filter(|value| **value != 0.0).count() > double.len() / 3, "{name} writes little");
        assert_close(&single, &double, units * 2_f64.powi(-24));
    }
}

/// A run is promised to end in the same bits on processors of one kind; that these loops do on all of x86-64 is why more
/// than one path is no risk.
#[test]
fn every_loop_gives_the_same_bits_on_every_vector_unit() {
    for (name, single, double, _) in CASES {
        for case in [single, double] {
            let bits = || case().into_iter().map(f64::to_bits).collect::<Vec<_>>();
            let [portable, others @ ..] = &widest::on_each(bits)[..] else { panic!("{name} runs nowhere") };
            assert!(others.iter().all(|other| other == portable), "{name}");
        }
    }
}
