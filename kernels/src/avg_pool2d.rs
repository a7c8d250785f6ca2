//! Average pooling over `[planes, height, width]`; padding counts as zeros, as PyTorch does by default.

use std::ops::Range;

use crate::real::Real;
use crate::widest::{self, Pass};
use crate::window::Window;

/// The layer's shape for one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Images times channels.
    pub planes: usize,
    /// Height and width of a plane.
    pub input: [usize; 2],
    /// How the window moves, vertically and horizontally.
    pub window: [Window; 2],
}

impl AvgPool2d {
    /// Height and width of a result, or `None` if the window does not fit.
    #[must_use]
    pub fn output(self) -> Option<[usize; 2]> {
        Some([self.window[0].output(self.input[0])?, self.window[1].output(self.input[1])?])
    }

    fn assert_lengths(self, input: usize, output: usize) -> [usize; 2] {
        let size = self.output().expect("the window fits: the caller's shape came from a checked model");
        assert_eq!(input, self.planes * self.input[0] * self.input[1], "input of {self:?}");
        assert_eq!(output, self.planes * size[0] * size[1], "output of {self:?}");
        size
    }

    /// Calls `each` with the outputs of a row whose windows have the same element inside the input, and where the first of
    /// these elements is; the others follow at the horizontal stride.
    #[inline(always)]
    fn lines(self, [out_height, out_width]: [usize; 2], mut each: impl FnMut(Range<usize>, usize)) {
        let [height, width] = self.input;
        let [vertical, horizontal] = self.window;
        for plane in 0..self.planes {
            for ky in 0..vertical.kernel {
                let (top, bottom) = vertical.inside(ky, height, out_height);
                for kx in 0..horizontal.kernel {
                    let (left, right) = horizontal.inside(kx, width, out_width);
                    if left == right {
                        continue;
                    }
                    for y in top..bottom {
                        let outputs = (plane * out_height + y) * out_width;
                        let line = (plane * height + vertical.position(y, ky)) * width;
                        each(outputs + left..outputs + right, line + horizontal.position(left, kx));
                    }
                }
            }
        }
    }

    fn share<T: Real>(self) -> T {
        T::from_f64(1.0 / (self.window[0].kernel * self.window[1].kernel) as f64)
    }
}

/// Writes the means to `y`.
///
/// # Panics
/// If the window does not fit or a length differs from the shape.
pub fn forward<T: Real>(shape: AvgPool2d, x: &[T], y: &mut [T]) {
    let size = shape.assert_lengths(x.len(), y.len());
    widest::run(Forward { shape, size, x, y });
}

struct Forward<'a, T> {
    shape: AvgPool2d,
    size: [usize; 2],
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Pass for Forward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { shape, size, x, y } = self;
        y.fill(T::ZERO);
        shape.lines(size, |outputs, input| {
            let y = &mut y[outputs];
            match shape.window[1].stride {
                // Without gaps the loop vectorises.
                1 => y.iter_mut().zip(&x[input..]).for_each(|(y, &x)| *y += x),
                stride => y.iter_mut().zip(x[input..].iter().step_by(stride)).for_each(|(y, &x)| *y += x),
            }
        });
        let share = shape.share();
        y.iter_mut().for_each(|y| *y *= share);
    }
}

/// Writes `dx`: every output's gradient spread evenly over its window.
///
/// # Panics
/// If the window does not fit or a length differs from the shape.
pub fn backward<T: Real>(shape: AvgPool2d, dy: &[T], dx: &mut [T]) {
    let size = shape.assert_lengths(dx.len(), dy.len());
    widest::run(Backward { shape, size, dy, dx });
}

struct Backward<'a, T> {
    shape: AvgPool2d,
    size: [usize; 2],
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Real> Pass for Backward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { shape, size, dy, dx } = self;
        dx.fill(T::ZERO);
        let share = shape.share();
        shape.lines(size, |outputs, input| {
            let dy = &dy[outputs];
            match shape.window[1].stride {
                1 => dx[input..].iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy * share),
                stride => dx[input..].iter_mut().step_by(stride).zip(dy).for_each(|(dx, &dy)| *dx += dy * share),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, dot, gradient, values};
    use crate::window::under;

    fn run(shape: AvgPool2d, x: &[f64]) -> Vec<f64> {
        let [height, width] = shape.output().unwrap();
        let mut y = vec![f64::NAN; shape.planes * height * width];
        forward(shape, x, &mut y);
        y
    }

    #[test]
    fn padding_counts_as_zeros() {
        let window = [Window { kernel: 2, stride: 2, padding: 1, dilation: 1 }; 2];
        let y = run(AvgPool2d { planes: 1, input: [2, 2], window }, &[4.0, 8.0, 12.0, 16.0]);
        assert_close(&y, &[1.0, 2.0, 3.0, 4.0], 1e-15);
    }

    /// Kernel, stride, padding and dilation along both axes.
    fn shapes() -> impl Iterator<Item = AvgPool2d> {
        let window = |[kernel, stride, padding, dilation]: [usize; 4]| Window { kernel, stride, padding, dilation };
        [
            (2, [4, 6], [2, 2, 0, 1], [2, 2, 0, 1]),
            (3, [5, 7], [3, 1, 1, 1], [3, 1, 1, 1]),
            (1, [7, 4], [2, 3, 1, 1], [2, 3, 1, 1]),
            (2, [7, 8], [2, 1, 2, 3], [3, 2, 1, 2]),
            // The first column of the window is over the padding only.
            (1, [4, 1], [2, 2, 0, 1], [2, 3, 1, 1]),
            (0, [4, 4], [2, 2, 0, 1], [2, 2, 0, 1]),
        ]
        .into_iter()
        .map(move |(planes, input, v, h)| AvgPool2d { planes, input, window: [window(v), window(h)] })
    }

    #[test]
    fn forward_equals_the_definition() {
        for shape in shapes() {
            let [height, width] = shape.input;
            let [rows, columns] = shape.output().unwrap();
            let x = values(5, shape.planes * height * width);
            let area = (shape.window[0].kernel * shape.window[1].kernel) as f64;
            let mut expected = Vec::new();
            for output in 0..shape.planes * rows * columns {
                let plane = &x[output / (rows * columns) * height * width..];
                let at = [output / columns % rows, output % columns];
                let sum: f64 = under(shape.window, shape.input, at).into_iter().map(|place| plane[place]).sum();
                expected.push(sum / area);
            }
            assert_close(&run(shape, &x), &expected, 1e-14);
        }
    }

    #[test]
    fn gradient_agrees_with_differences() {
        for shape in shapes() {
            let AvgPool2d { planes, input, .. } = shape;
            let x = values(5, planes * input[0] * input[1]);
            let c = values(6, run(shape, &x).len());
            let mut dx = vec![f64::NAN; x.len()];
            backward(shape, &c, &mut dx);
            assert_close(&dx, &gradient(&x, |x| dot(&run(shape, x), &c)), 1e-8);
        }
    }
}
