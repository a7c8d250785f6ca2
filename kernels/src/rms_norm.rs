//! Root mean square normalisation (Zhang and Sennrich 2019): every row divided by its root mean square, then scaled
//! value by value.

pub use crate::gradients::Gradients;

use crate::norm::{Moments, sum};
use crate::real::Real;
use crate::relu::Activation;
use crate::widest::{self, Pass};

/// The layer's shape for one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsNorm {
    /// Rows, each normalised by itself.
    pub rows: usize,
    /// Values of a row, at least one.
    pub size: usize,
    /// What is added to the mean of squares; PyTorch's default is the distance from 1 to the next value of the type.
    pub epsilon: f64,
}

impl RmsNorm {
    fn assert_lengths<T>(self, x: &[T], weight: &[T], y: &[T]) {
        assert!(self.size > 0, "a row has a value");
        assert_eq!(x.len(), self.rows * self.size, "input of {self:?}");
        assert_eq!(y.len(), x.len(), "output of {self:?}");
        assert_eq!(weight.len(), self.size, "one scale per value of a row");
    }
}

/// Writes `y = activation(x / √(mean(x²) + ε) · weight)`.
///
/// # Panics
/// If a length differs from the shape.
pub fn forward<T: Real>(shape: RmsNorm, activation: Activation, x: &[T], weight: &[T], y: &mut [T]) {
    shape.assert_lengths(x, weight, y);
    widest::run(Forward { shape, activation, x, weight, y });
}

struct Forward<'a, T> {
    shape: RmsNorm,
    activation: Activation,
    x: &'a [T],
    weight: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Pass for Forward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { shape: RmsNorm { size, epsilon, .. }, activation, x, weight, y } = self;
        for (x, y) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)) {
            let moments = Moments::around_zero(x, epsilon);
            y.iter_mut().zip(x.iter().zip(weight)).for_each(|(y, (&x, &w))| *y = moments.normalised(x) * w);
            activation.forward(y);
        }
    }
}

/// Writes the gradients, given that of the output before the activation.
///
/// # Panics
/// If a length differs from the shape, or a gradient of a bias is asked for.
pub fn backward<T: Real>(shape: RmsNorm, x: &[T], weight: &[T], dy: &[T], gradients: Gradients<'_, T>) {
    shape.assert_lengths(x, weight, dy);
    assert!(gradients.bias.is_none(), "root mean square normalisation has no bias");
    gradients.assert_lengths(x.len(), shape.size, shape);
    widest::run(Backward { shape, x, weight, dy, gradients });
}

struct Backward<'a, T> {
    shape: RmsNorm,
    x: &'a [T],
    weight: &'a [T],
    dy: &'a [T],
    gradients: Gradients<'a, T>,
}

impl<T: Real> Pass for Backward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { shape: RmsNorm { size, epsilon, .. }, x, weight, dy, mut gradients } = self;
        gradients.clear_parameters();
        let Gradients { mut input, weight: mut dweight, .. } = gradients;
        for (row, (x, dy)) in x.chunks_exact(size).zip(dy.chunks_exact(size)).enumerate() {
            let moments = Moments::around_zero(x, epsilon);
            if let Some(dweight) = &mut dweight {
                dweight.iter_mut().zip(x.iter().zip(dy)).for_each(|(d, (&x, &g))| *d += g * moments.normalised(x));
            }
            if let Some(dx) = &mut input {
                // The mean of g does not enter: no mean is subtracted on the way forward.
                let [gx] = sum([x, dy, weight], |[x, g, w]| [g * w * moments.normalised_f64(x)]);
                let means = [T::ZERO, T::from_f64(gx / size as f64)];
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
    const SIZES: [(usize, usize); 5] = [(0, 3), (1, 1), (3, 7), (2, 16), (2, 33)];

    fn shape(rows: usize, size: usize) -> RmsNorm {
        RmsNorm { rows, size, epsilon: EPSILON }
    }

    fn run(shape: RmsNorm, x: &[f64], weight: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NAN; x.len()];
        forward(shape, Activation::Identity, x, weight, &mut y);
        y
    }

    #[test]
    fn a_row_by_hand() {
        // The mean of 1 and 49 is 25.
        let y = run(RmsNorm { rows: 1, size: 2, epsilon: 0.0 }, &[1.0, -7.0], &[5.0, 10.0]);
        assert_close(&y, &[1.0, -14.0], 1e-15);
    }

    #[test]
    fn equals_a_slow_reference_in_both_types_and_with_a_rectifier() {
        for (rows, size) in SIZES {
            let (x, weight) = (values(1, rows * size), values(2, size));
            let mut expected = Vec::new();
            for row in x.chunks_exact(size) {
                let square = row.iter().map(|x| x * x).sum::<f64>() / size as f64;
                expected.extend(row.iter().zip(&weight).map(|(x, w)| x / (square + EPSILON).sqrt() * w));
            }
            assert_close(&run(shape(rows, size), &x, &weight), &expected, 1e-13);
            let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let mut y = vec![f32::NAN; x.len()];
            forward(shape(rows, size), Activation::Relu, &single(&x), &single(&weight), &mut y);
            let expected: Vec<f64> = expected.iter().map(|y| y.max(0.0)).collect();
            assert_close(&y.iter().map(|&y| f64::from(y)).collect::<Vec<_>>(), &expected, 1e-5);
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for (rows, size) in SIZES {
            let shape = shape(rows, size);
            let (x, weight) = (values(1, rows * size), values(2, size));
            let c = values(4, x.len());
            let (mut dx, mut dweight) = (vec![f64::NAN; x.len()], vec![f64::NAN; size]);
            let all = Gradients { input: Some(&mut dx), weight: Some(&mut dweight), bias: None };
            backward(shape, &x, &weight, &c, all);
            assert_close(&dx, &gradient(&x, |x| dot(&run(shape, x, &weight), &c)), 1e-7);
            assert_close(&dweight, &gradient(&weight, |w| dot(&run(shape, &x, w), &c)), 1e-8);
        }
    }
}
