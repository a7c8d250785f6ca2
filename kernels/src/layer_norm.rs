//! Layer normalisation (Ba et al. 2016): every row to mean 0 and variance 1, then scaled and shifted value by value.

pub use crate::gradients::Gradients;

use crate::norm::{Moments, sum};
use crate::real::Real;
use crate::relu::Activation;
use crate::widest::{self, Pass};

/// The layer's shape for one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Rows, each normalised by itself.
    pub rows: usize,
    /// Values of a row, at least one.
    pub size: usize,
    /// What is added to the variance; PyTorch's default is 1e-5.
    pub epsilon: f64,
}

impl LayerNorm {
    fn assert_lengths<T>(self, x: &[T], weight: &[T], y: &[T]) {
        assert!(self.size > 0, "a row has a value");
        assert_eq!(x.len(), self.rows * self.size, "input of {self:?}");
        assert_eq!(y.len(), x.len(), "output of {self:?}");
        assert_eq!(weight.len(), self.size, "one scale per value of a row");
    }
}

/// Writes `y = activation((x − mean) / √(variance + ε) · weight + bias)`.
///
/// # Panics
/// If a length differs from the shape.
pub fn forward<T: Real>(shape: LayerNorm, activation: Activation, x: &[T], weight: &[T], bias: &[T], y: &mut [T]) {
    shape.assert_lengths(x, weight, y);
    assert_eq!(bias.len(), shape.size, "one shift per value of a row");
    widest::run(Forward { shape, activation, x, weight, bias, y });
}

struct Forward<'a, T> {
    shape: LayerNorm,
    activation: Activation,
    x: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Pass for Forward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { shape: LayerNorm { size, epsilon, .. }, activation, x, weight, bias, y } = self;
        for (x, y) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)) {
            let moments = Moments::of(x, epsilon);
            for ((y, &x), (&w, &b)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
                *y = moments.normalised(x) * w + b;
            }
            activation.forward(y);
        }
    }
}

/// Writes the gradients, given that of the output before the activation.
///
/// # Panics
/// If a length differs from the shape.
pub fn backward<T: Real>(shape: LayerNorm, x: &[T], weight: &[T], dy: &[T], gradients: Gradients<'_, T>) {
    shape.assert_lengths(x, weight, dy);
    gradients.assert_lengths(x.len(), shape.size, shape);
    widest::run(Backward { shape, x, weight, dy, gradients });
}

struct Backward<'a, T> {
    shape: LayerNorm,
    x: &'a [T],
    weight: &'a [T],
    dy: &'a [T],
    gradients: Gradients<'a, T>,
}

impl<T: Real> Pass for Backward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { shape: LayerNorm { size, epsilon, .. }, x, weight, dy, mut gradients } = self;
        gradients.clear_parameters();
        let Gradients { mut input, weight: mut dweight, bias: mut dbias } = gradients;
        for (row, (x, dy)) in x.chunks_exact(size).zip(dy.chunks_exact(size)).enumerate() {
            let moments = Moments::of(x, epsilon);
            if let Some(dweight) = &mut dweight {
                dweight.iter_mut().zip(x.iter().zip(dy)).for_each(|(d, (&x, &g))| *d += g * moments.normalised(x));
            }
            if let Some(dbias) = &mut dbias {
                dbias.iter_mut().zip(dy).for_each(|(d, &g)| *d += g);
            }
            if let Some(dx) = &mut input {
                let terms = |[x, g, w]: [f64; 3]| [g * w, g * w * moments.normalised_f64(x)];
                let means = sum([x, dy, weight], terms).map(|sum| T::from_f64(sum / size as f64));
                let dx = &mut dx[row * size..][..size];
                for ((dx, &x), (&g, &w)) in dx.iter_mut().zip(x).zip(dy.iter().zip(weight)) {
                    *dx = moments.before(x, g * w, means);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, dot, gradient, values};

    const EPSILON: f64 = 1e-3;

    fn shape(rows: usize, size: usize) -> LayerNorm {
        LayerNorm { rows, size, epsilon: EPSILON }
    }

    fn run(shape: LayerNorm, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NAN; x.len()];
        forward(shape, Activation::Identity, x, weight, bias, &mut y);
        y
    }

    #[test]
    fn a_row_by_hand() {
        // Mean 3, variance 4: the row is −1, 1 before scale and shift, but for an ε of nothing.
        let y = run(LayerNorm { rows: 1, size: 2, epsilon: 0.0 }, &[1.0, 5.0], &[10.0, 100.0], &[0.5, 0.25]);
        assert_close(&y, &[-9.5, 100.25], 1e-15);
    }

    #[test]
    fn equals_a_slow_reference_in_both_types_and_with_a_rectifier() {
        for (rows, size) in [(0, 3), (1, 1), (3, 7), (2, 16), (4, 33)] {
            let (x, weight, bias) = (values(1, rows * size), values(2, size), values(3, size));
            let mut expected = Vec::new();
            for row in x.chunks_exact(size) {
                let mean = row.iter().sum::<f64>() / size as f64;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / size as f64;
                let normalised = row.iter().map(|x| (x - mean) / (variance + EPSILON).sqrt());
                expected.extend(normalised.zip(weight.iter().zip(&bias)).map(|(x, (w, b))| x * w + b));
            }
            assert_close(&run(shape(rows, size), &x, &weight, &bias), &expected, 1e-13);
            let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let mut y = vec![f32::NAN; x.len()];
            let (x, weight, bias) = (single(&x), single(&weight), single(&bias));
            forward(shape(rows, size), Activation::Relu, &x, &weight, &bias, &mut y);
            let expected: Vec<f64> = expected.iter().map(|y| y.max(0.0)).collect();
            assert_close(&y.iter().map(|&y| f64::from(y)).collect::<Vec<_>>(), &expected, 2e-5);
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for (rows, size) in [(0, 3), (1, 1), (3, 7), (2, 16), (2, 33)] {
            let shape = shape(rows, size);
            let (x, weight, bias) = (values(1, rows * size), values(2, size), values(3, size));
            let c = values(4, x.len());
            let (mut dx, mut dweight, mut dbias) =
                (vec![f64::NAN; x.len()], vec![f64::NAN; size], vec![f64::NAN; size]);
            let all = Gradients { input: Some(&mut dx), weight: Some(&mut dweight), bias: Some(&mut dbias) };
            backward(shape, &x, &weight, &c, all);
            assert_close(&dx, &gradient(&x, |x| dot(&run(shape, x, &weight, &bias), &c)), 1e-7);
            assert_close(&dweight, &gradient(&weight, |w| dot(&run(shape, &x, w, &bias), &c)), 1e-8);
            assert_close(&dbias, &gradient(&bias, |b| dot(&run(shape, &x, &weight, b), &c)), 1e-8);
        }
    }

    #[test]
    fn not_a_number_stays_in_its_row() {
        let y = run(shape(2, 2), &[f64::NAN, 1.0, 1.0, 2.0], &[1.0; 2], &[0.0; 2]);
        assert!(y[0].is_nan() && y[1].is_nan() && y[2].is_finite() && y[3].is_finite());
    }
}
