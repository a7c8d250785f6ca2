//! Fully connected layer: `y = activation(x · Wᵀ + b)` with the weight as `[outputs, inputs]`, like PyTorch's.
//!
//! The backward pass comes in two forms. [`backward`] writes gradients, for momentum or inspection.
//! [`backward_update`] folds plain SGD into the matrix product, `W ← (1 − lr·wd)·W − lr·dYᵀ·X`: the gradient is
//! never stored, which for small batches is a third of the step's memory traffic.

pub use crate::gradients::Gradients;
use crate::matmul::{Matrix, matmul};
use crate::real::Real;
use crate::relu::{Activation, rectified};
use crate::sgd::{self, Step};
#[cfg(target_arch = "x86_64")]
use crate::{avx512, dots};

/// Batches up to this size skip the packing. At 32 it pays: 0.29 against 0.38 ms for a step of 784-200-200-10.
#[cfg(target_arch = "x86_64")]
const ROWS_MAX: usize = 16;
/// Shorter rows are mostly summing up registers at their end.
#[cfg(target_arch = "x86_64")]
const INPUTS_MIN: usize = 64;

/// The layer's shape for one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Examples.
    pub batch: usize,
    /// Features of an example.
    pub inputs: usize,
    /// Features of its result.
    pub outputs: usize,
}

/// Writes `y` `[batch, outputs]`.
///
/// # Panics
/// If a length differs from the shape.
pub fn forward<T: Real>(shape: Linear, activation: Activation, x: &[T], weight: &[T], bias: Option<&[T]>, y: &mut [T]) {
    let Linear { batch, inputs, outputs } = shape;
    let (x_matrix, w) = (Matrix::new(x, batch, inputs), Matrix::new(weight, outputs, inputs));
    if !dots(inputs, x, weight, y) {
        matmul(y, T::ZERO, T::ONE, x_matrix, w.transposed());
    }
    let Some(bias) = bias else { return activation.forward(y) };
    assert_eq!(bias.len(), outputs, "one bias per output");
    if outputs == 0 {
        return;
    }
    for row in y.chunks_exact_mut(outputs) {
        match activation {
            Activation::Identity => row.iter_mut().zip(bias).for_each(|(y, &b)| *y += b),
            Activation::Relu => row.iter_mut().zip(bias).for_each(|(y, &b)| *y = rectified(*y + b)),
        }
    }
}

/// Products of few rows on AVX-512 take a path that does not pack the weight; its sums of a thousand products of numbers
/// below one are within 2e-5 of the exact ones. Whether it took it.
#[cfg(target_arch = "x86_64")]
fn dots<T: Real>(inputs: usize, x: &[T], weight: &[T], y: &mut [T]) -> bool {
    let (Some(x), Some(weight), Some(y)) = (T::as_single(x), T::as_single(weight), T::as_single_mut(y)) else {
        return false;
    };
    if inputs < INPUTS_MIN || x.len() > inputs * ROWS_MAX || !avx512::is_available() {
        return false;
    }
    #[expect(unsafe_code, reason = "a function compiled for more features may only be called where they exist")]
    // SAFETY: the processor has AVX-512.
    unsafe {
        dots::dots(inputs, x, weight, y);
    }
    true
}

#[cfg(not(target_arch = "x86_64"))]
fn dots<T: Real>(_: usize, _: &[T], _: &[T], _: &mut [T]) -> bool {
    false
}

/// Writes the gradients asked for, from `dy`, the gradient *before* the activation
/// (see [`Activation::backward`]).
///
/// # Panics
/// If a length differs from the shape.
pub fn backward<T: Real>(shape: Linear, x: &[T], weight: &[T], dy: &[T], gradients: Gradients<'_, T>) {
    let Linear { batch, inputs, outputs } = shape;
    let dy_matrix = Matrix::new(dy, batch, outputs);
    if let Some(dx) = gradients.input {
        matmul(dx, T::ZERO, T::ONE, dy_matrix, Matrix::new(weight, outputs, inputs));
    }
    if let Some(dw) = gradients.weight {
        matmul(dw, T::ZERO, T::ONE, dy_matrix.transposed(), Matrix::new(x, batch, inputs));
    }
    if let Some(db) = gradients.bias {
        assert_eq!(db.len(), outputs, "one bias per output");
        db.fill(T::ZERO);
        add_rows(db, dy, T::ONE);
    }
}

/// Writes the input's gradient, if asked for, and steps weight and bias. The input's gradient is that of the weight
/// before the step.
///
/// # Panics
/// If a length differs from the shape.
pub fn backward_update<T: Real>(
    shape: Linear,
    step: Step<T>,
    x: &[T],
    dy: &[T],
    weight: &mut [T],
    bias: Option<&mut [T]>,
    dx: Option<&mut [T]>,
) {
    let Linear { batch, inputs, outputs } = shape;
    let dy_matrix = Matrix::new(dy, batch, outputs);
    if let Some(dx) = dx {
        matmul(dx, T::ZERO, T::ONE, dy_matrix, Matrix::new(weight, outputs, inputs));
    }
    let keep = T::ONE - step.learning_rate * step.weight_decay;
    matmul(weight, keep, -step.learning_rate, dy_matrix.transposed(), Matrix::new(x, batch, inputs));
    if let Some(bias) = bias {
        assert_eq!(bias.len(), outputs, "one bias per output");
        sgd::decay(step, bias);
        add_rows(bias, dy, -step.learning_rate);
    }
}

fn add_rows<T: Real>(sum: &mut [T], rows: &[T], factor: T) {
    if sum.is_empty() {
        return;
    }
    for row in rows.chunks_exact(sum.len()) {
        sum.iter_mut().zip(row).for_each(|(s, &r)| *s += factor * r);
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, dot, gradient, values};

    const SHAPES: [Linear; 4] = [
        Linear { batch: 1, inputs: 1, outputs: 1 },
        Linear { batch: 3, inputs: 7, outputs: 5 },
        Linear { batch: 17, inputs: 4, outputs: 9 },
        Linear { batch: 0, inputs: 3, outputs: 2 },
    ];

    struct Case {
        shape: Linear,
        x: Vec<f64>,
        w: Vec<f64>,
        b: Vec<f64>,
        /// Coefficients that turn the output into a scalar.
        c: Vec<f64>,
    }

    fn case(shape: Linear) -> Case {
        let Linear { batch, inputs, outputs } = shape;
        let [x, w, b, c] = [(1, batch * inputs), (2, outputs * inputs), (3, outputs), (4, batch * outputs)]
            .map(|(seed, len)| values(seed, len));
        Case { shape, x, w, b, c }
    }

    fn run(case: &Case, activation: Activation, x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NAN; case.c.len()];
        forward(case.shape, activation, x, w, Some(b), &mut y);
        y
    }

    #[test]
    fn forward_equals_the_naive_sums() {
        for shape in SHAPES {
            let case = case(shape);
            let expected: Vec<f64> = (0..shape.batch * shape.outputs)
                .map(|i| {
                    let (n, o) = (i / shape.outputs, i % shape.outputs);
                    let row = |m: &[f64], r: usize| m[r * shape.inputs..(r + 1) * shape.inputs].to_vec();
                    case.b[o] + dot(&row(&case.x, n), &row(&case.w, o))
                })
                .collect();
            assert_close(&run(&case, Activation::Identity, &case.x, &case.w, &case.b), &expected, 1e-12);
            let expected: Vec<f64> = expected.into_iter().map(|y| y.max(0.0)).collect();
            assert_close(&run(&case, Activation::Relu, &case.x, &case.w, &case.b), &expected, 1e-12);
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for shape in SHAPES {
            for activation in [Activation::Identity, Activation::Relu] {
                let case = case(shape);
                let y = run(&case, activation, &case.x, &case.w, &case.b);
                let mut dy = case.c.clone();
                activation.backward(&y, &mut dy);
                let [mut dx, mut dw, mut db] = [&case.x, &case.w, &case.b].map(|v| vec![f64::NAN; v.len()]);
                let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db) };
                backward(shape, &case.x, &case.w, &dy, gradients);
                let loss = |x: &[f64], w: &[f64], b: &[f64]| dot(&run(&case, activation, x, w, b), &case.c);
                assert_close(&dx, &gradient(&case.x, |x| loss(x, &case.w, &case.b)), 1e-8);
                assert_close(&dw, &gradient(&case.w, |w| loss(&case.x, w, &case.b)), 1e-8);
                assert_close(&db, &gradient(&case.b, |b| loss(&case.x, &case.w, b)), 1e-8);
            }
        }
    }

    #[test]
    fn fused_update_equals_gradient_then_step() {
        let step = Step { learning_rate: 0.3, weight_decay: 0.1 };
        for shape in SHAPES {
            let case = case(shape);
            let [mut dx, mut dw, mut db] = [&case.x, &case.w, &case.b].map(|v| vec![f64::NAN; v.len()]);
            let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db) };
            backward(shape, &case.x, &case.w, &case.c, gradients);
            let (mut w, mut b) = (case.w.clone(), case.b.clone());
            sgd::update(step, &mut w, &dw);
            sgd::update(step, &mut b, &db);
            let (mut fused_w, mut fused_b) = (case.w.clone(), case.b.clone());
            let mut fused_dx = vec![f64::NAN; dx.len()];
            backward_update(shape, step, &case.x, &case.c, &mut fused_w, Some(&mut fused_b), Some(&mut fused_dx));
            assert_close(&fused_w, &w, 1e-12);
            assert_close(&fused_b, &b, 1e-12);
            assert_close(&fused_dx, &dx, 1e-12);
        }
    }

    #[test]
    fn without_bias_nothing_is_added() {
        let mut y = [0.0_f32; 1];
        let shape = Linear { batch: 1, inputs: 2, outputs: 1 };
        forward(shape, Activation::Relu, &[1.0, 2.0], &[3.0, -4.0], None, &mut y);
        assert_eq!(y, [0.0]);
    }
}
