//! Maximum pooling over `[planes, height, width]`, any kernel, stride and padding.
//!
//! The forward pass keeps, per output, the index of its maximum inside the plane, so that the backward pass is one
//! addition per output and right where windows overlap.

use crate::real::Real;
use crate::widest::{self, Pass};
use crate::window::Window;

/// The layer's shape for one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Images times channels.
    pub planes: usize,
    /// Height and width of a plane.
    pub input: [usize; 2],
    /// How the window moves, vertically and horizontally. Padding must be below the kernel's extent.
    pub window: [Window; 2],
}

impl MaxPool2d {
    /// Height and width of a result. `None` if the window does not fit, could lie wholly in the padding, or a plane
    /// has more elements than an index can name.
    #[must_use]
    pub fn output(self) -> Option<[usize; 2]> {
        u32::try_from(self.input[0].checked_mul(self.input[1])?).ok()?;
        // PyTorch's rule: half a kernel of padding at most, so that every window holds a real element.
        if self.window.iter().any(|w| w.padding > w.kernel / 2) {
            return None;
        }
        let output = [self.window[0].output(self.input[0])?, self.window[1].output(self.input[1])?];
        let [vertical, horizontal] = self.window;
        let reached = |w: Window, input, outputs| {
            // The first and last windows are the outermost; dilation can make one jump over a small input.
            [0, outputs - 1].into_iter().all(|index| {
                (0..w.kernel).any(|at| {
                    let (low, high) = w.inside(at, input, outputs);
                    (low..high).contains(&index)
                })
            })
        };
        (reached(vertical, self.input[0], output[0]) && reached(horizontal, self.input[1], output[1])).then_some(output)
    }

    fn assert_lengths(self, input: usize, output: usize, indices: usize) -> [usize; 2] {
        let size = self.output().expect("the window fits: the caller's shape came from a checked model");
        assert_eq!(input, self.planes * self.input[0] * self.input[1], "input of {self:?}");
        assert_eq!(output, self.planes * size[0] * size[1], "output of {self:?}");
        assert_eq!(indices, output, "one index per output");
        size
    }

    /// Two by two without overlap or padding: what most networks use (an odd last row or column is left out).
    fn is_halving(self) -> bool {
        self.window == [Window { kernel: 2, stride: 2, padding: 0, dilation: 1 }; 2]
    }
}

/// Writes the maxima to `y` and where they were to `indices`. Of equal values the first counts; a NaN wins.
///
/// # Panics
/// If the window does not fit or a length differs from the shape.
pub fn forward<T: Real>(shape: MaxPool2d, x: &[T], y: &mut [T], indices: &mut [u32]) {
    let [out_height, out_width] = shape.assert_lengths(x.len(), y.len(), indices.len());
    if y.is_empty() {
        return;
    }
    let [height, width] = shape.input;
    let rows = y.chunks_exact_mut(out_width).zip(indices.chunks_exact_mut(out_width)).enumerate();
    for (row, (y, indices)) in rows {
        let plane = &x[row / out_height * height * width..][..height * width];
        if shape.is_halving() {
            halve(plane, row % out_height * 2 * width, width, y, indices);
        } else {
            // An index fits: the plane has at most 2^32 elements and every window holds one (`MaxPool2d::output`).
            pool_row(shape, plane, row % out_height, out_width, |at, (value, index)| {
                (y[at], indices[at]) = (value, index as u32);
            });
        }
    }
}

/// Writes the maxima to `y` and nothing else: for a forward pass that no backward pass follows.
///
/// # Panics
/// If the window does not fit or a length differs from the shape.
pub fn maxima<T: Real>(shape: MaxPool2d, x: &[T], y: &mut [T]) {
    let [out_height, out_width] = shape.assert_lengths(x.len(), y.len(), y.len());
    if y.is_empty() {
        return;
    }
    let [height, width] = shape.input;
    if shape.is_halving() && width <= BLOCK {
        return widest::run(Halve { shape, x, y });
    }
    for (row, y) in y.chunks_exact_mut(out_width).enumerate() {
        let plane = &x[row / out_height * height * width..][..height * width];
        pool_row(shape, plane, row % out_height, out_width, |at, (value, _)| y[at] = value);
    }
}

/// Values that wait on the stack between the maximum of two lines and that of two neighbours: a quarter of the
/// first-level cache. Wider planes take the general path.
const BLOCK: usize = 2048;

/// Halving without indices: the larger of two lines first, then the larger of every two neighbours. Two passes because
/// each of them vectorises.
struct Halve<'a, T> {
    shape: MaxPool2d,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Pass for Halve<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { shape, x, y } = self;
        let [height, width] = shape.input;
        let (half, outputs) = (width / 2, height / 2 * (width / 2));
        // Pairs do not reach over the end of a line only if its width is even.
        let lines = if width.is_multiple_of(2) { BLOCK / width } else { 1 };
        let mut larger = [T::ZERO; BLOCK];
        for (plane, y) in x.chunks_exact(height * width).zip(y.chunks_exact_mut(outputs)) {
            let plane = &plane[..height / 2 * 2 * width];
            for (block, y) in plane.chunks(2 * lines * width).zip(y.chunks_mut(lines * half)) {
                let larger = &mut larger[..block.len() / 2];
                for (pair, larger) in block.chunks_exact(2 * width).zip(larger.chunks_exact_mut(width)) {
                    let (upper, lower) = pair.split_at(width);
                    for (larger, (&a, &b)) in larger.iter_mut().zip(upper.iter().zip(lower)) {
                        *larger = if beats(b, a) { b } else { a };
                    }
                }
                for (y, &[a, b]) in y.iter_mut().zip(larger.as_chunks().0) {
                    *y = if beats(b, a) { b } else { a };
                }
            }
        }
    }
}

fn halve<T: Real>(plane: &[T], start: usize, width: usize, y: &mut [T], indices: &mut [u32]) {
    let upper = plane[start..][..width].chunks_exact(2);
    let lower = plane[start + width..][..width].chunks_exact(2);
    for (x, ((y, index), (upper, lower))) in y.iter_mut().zip(indices).zip(upper.zip(lower)).enumerate() {
        let at = start + 2 * x;
        let mut best = (upper[0], at);
        for (v, i) in [(upper[1], at + 1), (lower[0], at + width), (lower[1], at + width + 1)] {
            best = if beats(v, best.0) { (v, i) } else { best };
        }
        // Fits: the plane has at most 2^32 elements (`MaxPool2d::output`).
        (*y, *index) = (best.0, best.1 as u32);
    }
}

/// Calls `each` with every column of a row of results, its maximum and where that is inside the plane.
fn pool_row<T: Real>(
    shape: MaxPool2d,
    plane: &[T],
    row: usize,
    columns: usize,
    mut each: impl FnMut(usize, (T, usize)),
) {
    let [height, width] = shape.input;
    let [vertical, horizontal] = shape.window;
    for column in 0..columns {
        let mut best = (T::NEG_INFINITY, usize::MAX);
        for ky in 0..vertical.kernel {
            let line = (row * vertical.stride + ky * vertical.dilation).wrapping_sub(vertical.padding);
            if line >= height {
                continue;
            }
            for kx in 0..horizontal.kernel {
                let at = (column * horizontal.stride + kx * horizontal.dilation).wrapping_sub(horizontal.padding);
                if at < width && (best.1 == usize::MAX || beats(plane[line * width + at], best.0)) {
                    best = (plane[line * width + at], line * width + at);
                }
            }
        }
        each(column, best);
    }
}

/// Larger, or not a number where the best so far is one.
#[inline]
fn beats<T: Real>(v: T, best: T) -> bool {
    // The negation is the point: a comparison with a NaN is false, so a NaN `v` wins and then stays.
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must win")]
    let wins = !(v <= best);
    wins & (best.partial_cmp(&best).is_some())
}

/// Writes `dx`: every output's gradient added to where its maximum was.
///
/// # Panics
/// If the window does not fit, a length differs from the shape or an index is not from this shape's forward pass.
pub fn backward<T: Real>(shape: MaxPool2d, dy: &[T], indices: &[u32], dx: &mut [T]) {
    let [out_height, out_width] = shape.assert_lengths(dx.len(), dy.len(), indices.len());
    dx.fill(T::ZERO);
    if dy.is_empty() {
        return;
    }
    let outputs = out_height * out_width;
    let planes = dx.chunks_exact_mut(shape.input[0] * shape.input[1]);
    for (plane, (dy, indices)) in planes.zip(dy.chunks_exact(outputs).zip(indices.chunks_exact(outputs))) {
        for (&g, &index) in dy.iter().zip(indices) {
            plane[index as usize] += g;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, dot, gradient, values};
    use crate::window::under;

    fn shapes() -> Vec<MaxPool2d> {
        let window = |[kernel, stride, padding, dilation]: [usize; 4]| Window { kernel, stride, padding, dilation };
        [
            (2, [4, 6], [2, 2, 0, 1], [2, 2, 0, 1]),
            (3, [5, 7], [2, 2, 0, 1], [2, 2, 0, 1]),
            (2, [6, 5], [3, 1, 1, 1], [3, 2, 1, 1]),
            (2, [6, 7], [3, 2, 0, 1], [2, 1, 1, 1]),
            (1, [7, 7], [2, 3, 1, 2], [3, 1, 1, 2]),
            (1, [1, 1], [1, 1, 0, 1], [1, 1, 0, 1]),
            (0, [4, 4], [2, 2, 0, 1], [2, 2, 0, 1]),
        ]
        .into_iter()
        .map(|(planes, input, v, h)| MaxPool2d { planes, input, window: [window(v), window(h)] })
        .collect()
    }

    fn run(shape: MaxPool2d, x: &[f64]) -> (Vec<f64>, Vec<u32>) {
        let [height, width] = shape.output().unwrap();
        let len = shape.planes * height * width;
        let (mut y, mut indices) = (vec![f64::NAN; len], vec![u32::MAX; len]);
        forward(shape, x, &mut y, &mut indices);
        (y, indices)
    }

    #[test]
    fn halving_by_hand() {
        let shape = MaxPool2d { planes: 1, ..shapes()[0] };
        let x = (0..24).map(|i| f64::from(i * 7 % 24)).collect::<Vec<_>>();
        // Rows: 0 7 14 21 4 11 / 18 1 8 15 22 5 / 12 19 2 9 16 23 / 6 13 20 3 10 17
        let (y, indices) = run(shape, &x);
        assert_eq!(indices, [6, 3, 10, 13, 20, 17]);
        assert_close(&y, &[18.0, 21.0, 22.0, 19.0, 20.0, 23.0], 0.0);
    }

    /// With ties in windows that overlap, and what is no number.
    #[test]
    fn forward_and_backward_equal_the_definition() {
        for shape in shapes() {
            let [height, width] = shape.input;
            let [rows, columns] = shape.output().unwrap();
            let mut x: Vec<f64> =
                values(5, shape.planes * height * width).into_iter().map(|value| (value * 2.0).round()).collect();
            for holes in [false, true] {
                x.iter_mut().skip(3).step_by(11).filter(|_| holes).for_each(|x| *x = f64::NAN);
                let (y, indices) = run(shape, &x);
                let c = values(6, y.len());
                let (mut dx, mut expected) = (vec![f64::NAN; x.len()], vec![0.0; x.len()]);
                backward(shape, &c, &indices, &mut dx);
                for (output, (y, index)) in y.into_iter().zip(indices).enumerate() {
                    let start = output / (rows * columns) * height * width;
                    let places = under(shape.window, shape.input, [output / columns % rows, output % columns]);
                    let value = |place: usize| x[start + place];
                    let largest = places.iter().map(|&place| value(place)).fold(f64::NEG_INFINITY, f64::max);
                    let hole = places.iter().find(|&&place| value(place).is_nan());
                    let first = *hole.or(places.iter().find(|&&place| value(place) >= largest)).unwrap();
                    assert_eq!((y.to_bits(), index as usize), (value(first).to_bits(), first), "{shape:?}");
                    expected[start + first] += c[output];
                }
                assert_close(&dx, &expected, 1e-15);
            }
        }
    }

    #[test]
    fn halving_equals_the_general_path() {
        let shape = shapes()[1];
        let x = values(9, 3 * 35);
        let (y, indices) = run(shape, &x);
        let mut general = (vec![0.0; y.len()], vec![0; y.len()]);
        for (row, (y, i)) in general.0.chunks_exact_mut(3).zip(general.1.chunks_exact_mut(3)).enumerate() {
            pool_row(shape, &x[row / 2 * 35..][..35], row % 2, 3, |at, (v, index)| (y[at], i[at]) = (v, index as u32));
        }
        assert_eq!((y, indices), general);
    }

    /// What is measured must be what was trained.
    #[test]
    fn maxima_alone_are_the_same_maxima() {
        let wide = |input| MaxPool2d { input, ..shapes()[1] };
        let more = [wide([9, 6]), wide([2, BLOCK]), wide([4, BLOCK + 2]), wide([2 * BLOCK, 3]), wide([200, 64])];
        for shape in shapes().into_iter().chain(more) {
            let mut x = values(7, shape.planes * shape.input[0] * shape.input[1]);
            if let Some(last) = x.last_mut() {
                *last = f64::NAN;
            }
            let mut y = vec![0.5; run(shape, &x).0.len()];
            maxima(shape, &x, &mut y);
            let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(y), bits(run(shape, &x).0), "{shape:?}");
        }
    }

    #[test]
    fn gradient_agrees_with_differences_also_where_windows_overlap() {
        for shape in shapes() {
            let x = values(5, shape.planes * shape.input[0] * shape.input[1]);
            let (y, indices) = run(shape, &x);
            let c = values(6, y.len());
            let mut dx = vec![f64::NAN; x.len()];
            backward(shape, &c, &indices, &mut dx);
            assert_close(&dx, &gradient(&x, |x| dot(&run(shape, x).0, &c)), 1e-8);
        }
    }

    #[test]
    fn not_a_number_wins_and_negative_infinity_has_an_index() {
        let shape = MaxPool2d { planes: 1, input: [2, 2], ..shapes()[0] };
        for at in 0..4 {
            let mut x = [1.0; 4];
            x[at] = f64::NAN;
            let (y, indices) = run(shape, &x);
            assert!(y[0].is_nan());
            assert_eq!(indices, [at as u32]);
        }
        assert_eq!(run(shape, &[f64::NEG_INFINITY; 4]).1, [0]);
    }

    #[test]
    fn windows_that_could_miss_the_input_are_refused() {
        let window = |kernel, stride, padding, dilation| [Window { kernel, stride, padding, dilation }; 2];
        let shape = |window| MaxPool2d { planes: 1, input: [2, 2], window };
        assert_eq!(shape(window(3, 1, 2, 1)).output(), None);
        assert_eq!(shape(window(2, 1, 1, 3)).output(), None);
        assert_eq!(shape(window(3, 1, 0, 1)).output(), None);
    }
}
