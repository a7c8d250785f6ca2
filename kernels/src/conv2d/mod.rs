//! Two-dimensional convolution over `[batch, channels, height, width]`, with the weight as
//! `[out_channels, in_channels / groups, kernel height, kernel width]`, like PyTorch's.
//!
//! In general every image is unrolled into columns and multiplied on its own; the backward pass unrolls it again,
//! because reading columns back from memory costs more than making them. Where the processor and the shape allow,
//! the convolution runs directly on the image instead, which is faster by a third or more. Both ways add the same products
//! in another order: of a few thousand products of numbers below one the sums differ by 1e-4 at the most in single
//! precision.

#[cfg(target_arch = "x86_64")]
mod batch;
mod columns;
#[cfg(target_arch = "x86_64")]
mod direct;

use self::columns::Unroll;
pub use crate::gradients::Gradients;
use crate::matmul::{Matrix, matmul};
use crate::real::Real;
use crate::relu::{Activation, rectified};
use crate::window::Window;
use crate::workspace::{Workspace, take};

/// The layer's shape for one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Images.
    pub batch: usize,
    /// Planes of an image; a multiple of `groups`.
    pub in_channels: usize,
    /// Planes of a result; a multiple of `groups`.
    pub out_channels: usize,
    /// Height and width of an image.
    pub input: [usize; 2],
    /// How the kernel moves, vertically and horizontally.
    pub window: [Window; 2],
    /// Groups of channels that do not see each other; 1 is the ordinary convolution.
    pub groups: usize,
}

impl Conv2d {
    /// Height and width of a result, or `None` if the kernel does not fit, or channels and groups do not agree.
    #[must_use]
    pub fn output(self) -> Option<[usize; 2]> {
        if self.groups == 0
            || !self.in_channels.is_multiple_of(self.groups)
            || !self.out_channels.is_multiple_of(self.groups)
        {
            return None;
        }
        Some([self.window[0].output(self.input[0])?, self.window[1].output(self.input[1])?])
    }

    /// Elements of the weight.
    #[must_use]
    pub fn weight_len(self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.window[0].kernel * self.window[1].kernel
    }

    /// Elements of one image.
    #[must_use]
    pub fn image_len(self) -> usize {
        self.in_channels * self.input[0] * self.input[1]
    }

    fn group(self) -> Group {
        let output = self.output().expect("the kernel fits: the caller's shape came from a checked model");
        let unroll =
            Unroll { channels: self.in_channels / self.groups, input: self.input, output, window: self.window };
        Group { unroll, out_channels: self.out_channels / self.groups, groups: self.groups }
    }

    fn assert_lengths(self, group: Group, x: usize, weight: usize, y: usize) {
        assert_eq!(x, self.batch * self.image_len(), "input of {self:?}");
        assert_eq!(weight, self.weight_len(), "weight of {self:?}");
        assert_eq!(y, self.batch * self.out_channels * group.unroll.windows(), "output of {self:?}");
    }
}

/// The part of the work in which all channels see each other, for one image.
#[derive(Clone, Copy)]
struct Group {
    unroll: Unroll,
    out_channels: usize,
    groups: usize,
}

impl Group {
    fn image_len(self) -> usize {
        self.unroll.channels * self.unroll.input[0] * self.unroll.input[1]
    }

    fn result_len(self) -> usize {
        self.out_channels * self.unroll.windows()
    }

    fn weight_len(self) -> usize {
        self.out_channels * self.unroll.rows()
    }

    /// A kernel of one element that visits every input element once: the image is its own columns.
    fn is_pointwise(self) -> bool {
        self.unroll.window.iter().all(|w| w.kernel == 1 && w.stride == 1 && w.padding == 0)
    }

    fn columns<'a, T: Real>(self, image: &'a [T], buffer: &'a mut Vec<T>) -> Matrix<'a, T> {
        let (rows, windows) = (self.unroll.rows(), self.unroll.windows());
        if self.is_pointwise() {
            return Matrix::new(image, rows, windows);
        }
        let columns = take(buffer, rows * windows);
        self.unroll.gather(image, columns);
        Matrix::new(columns, rows, windows)
    }
}

/// Writes `y` `[batch, out_channels, output height, output width]`.
///
/// # Panics
/// If the kernel does not fit or a length differs from the shape.
pub fn forward<T: Real>(
    shape: Conv2d,
    activation: Activation,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    workspace: &mut Workspace<T>,
) {
    let group = shape.group();
    shape.assert_lengths(group, x.len(), weight.len(), y.len());
    if y.is_empty() {
        return;
    }
    assert!(bias.is_none_or(|b| b.len() == shape.out_channels), "one bias per output channel");
    let finish = Finish { activation, bias, windows: group.unroll.windows() };
    #[cfg(target_arch = "x86_64")]
    let done = batch::forward(shape, x, weight, finish, y, workspace);
    #[cfg(not(target_arch = "x86_64"))]
    let done = false;
    if !done {
        forward_columns(group, x, weight, finish, y, workspace);
    }
}

/// What is left to do with a result. It is done image by image, while the result is in the cache.
#[derive(Clone, Copy)]
struct Finish<'a, T> {
    activation: Activation,
    bias: Option<&'a [T]>,
    windows: usize,
}

impl<T: Real> Finish<'_, T> {
    /// Adds the bias and applies the activation to the planes of the channels from `first` on.
    fn apply(self, first: usize, result: &mut [T]) {
        let Some(bias) = self.bias else { return self.activation.forward(result) };
        for (plane, &b) in result.chunks_exact_mut(self.windows).zip(&bias[first..]) {
            match self.activation {
                Activation::Identity => plane.iter_mut().for_each(|y| *y += b),
                Activation::Relu => plane.iter_mut().for_each(|y| *y = rectified(*y + b)),
            }
        }
    }
}

fn forward_columns<T: Real>(
    group: Group,
    x: &[T],
    weight: &[T],
    finish: Finish<'_, T>,
    y: &mut [T],
    workspace: &mut Workspace<T>,
) {
    let images = x.chunks_exact(group.image_len().max(1));
    for (i, (image, result)) in images.zip(y.chunks_exact_mut(group.result_len())).enumerate() {
        let at = i % group.groups;
        let w = &weight[at * group.weight_len()..][..group.weight_len()];
        let columns = group.columns(image, &mut workspace.columns);
        matmul(result, T::ZERO, T::ONE, Matrix::new(w, group.out_channels, group.unroll.rows()), columns);
        finish.apply(at * group.out_channels, result);
    }
}

/// Writes the gradients asked for, from `dy`, the gradient *before* the activation
/// (see [`Activation::backward`]).
///
/// # Panics
/// If the kernel does not fit or a length differs from the shape.
pub fn backward<T: Real>(
    shape: Conv2d,
    x: &[T],
    weight: &[T],
    dy: &[T],
    gradients: Gradients<'_, T>,
    workspace: &mut Workspace<T>,
) {
    let group = shape.group();
    shape.assert_lengths(group, x.len(), weight.len(), dy.len());
    if let Some(dx) = gradients.input {
        assert_eq!(dx.len(), x.len(), "the input's gradient has the input's length");
        #[cfg(target_arch = "x86_64")]
        let done = batch::backward_input(shape, weight, dy, dx, workspace);
        #[cfg(not(target_arch = "x86_64"))]
        let done = false;
        if !done {
            backward_input(group, weight, dy, dx, workspace);
        }
    }
    if let Some(dw) = gradients.weight {
        assert_eq!(dw.len(), weight.len(), "the weight's gradient has the weight's length");
        #[cfg(target_arch = "x86_64")]
        let done = batch::backward_weight(shape, x, dy, dw, workspace);
        #[cfg(not(target_arch = "x86_64"))]
        let done = false;
        if !done {
            backward_weight(group, x, dy, dw, workspace);
        }
    }
    if let Some(db) = gradients.bias {
        assert_eq!(db.len(), shape.out_channels, "one bias per output channel");
        backward_bias(group.unroll.windows(), dy, db);
    }
}

fn backward_input<T: Real>(group: Group, weight: &[T], dy: &[T], dx: &mut [T], workspace: &mut Workspace<T>) {
    let (rows, windows) = (group.unroll.rows(), group.unroll.windows());
    dx.fill(T::ZERO);
    if dy.is_empty() || dx.is_empty() {
        return;
    }
    let results = dy.chunks_exact(group.result_len());
    for (i, (image, result)) in dx.chunks_exact_mut(group.image_len()).zip(results).enumerate() {
        let w = &weight[i % group.groups * group.weight_len()..][..group.weight_len()];
        let w = Matrix::new(w, group.out_channels, rows).transposed();
        let result = Matrix::new(result, group.out_channels, windows);
        if group.is_pointwise() {
            matmul(image, T::ZERO, T::ONE, w, result);
        } else {
            let columns = take(&mut workspace.columns, rows * windows);
            matmul(columns, T::ZERO, T::ONE, w, result);
            group.unroll.scatter(columns, image);
        }
    }
}

fn backward_weight<T: Real>(group: Group, x: &[T], dy: &[T], dw: &mut [T], workspace: &mut Workspace<T>) {
    dw.fill(T::ZERO);
    if dy.is_empty() {
        return;
    }
    let images = x.chunks_exact(group.image_len().max(1));
    for (i, (image, result)) in images.zip(dy.chunks_exact(group.result_len())).enumerate() {
        let dw = &mut dw[i % group.groups * group.weight_len()..][..group.weight_len()];
        let result = Matrix::new(result, group.out_channels, group.unroll.windows());
        let columns = group.columns(image, &mut workspace.columns);
        matmul(dw, T::ONE, T::ONE, result, columns.transposed());
    }
}

fn backward_bias<T: Real>(windows: usize, dy: &[T], db: &mut [T]) {
    db.fill(T::ZERO);
    let channels = db.len();
    if windows == 0 {
        return;
    }
    for (i, plane) in dy.chunks_exact(windows).enumerate() {
        db[i % channels] += sum(plane);
    }
}

/// Eight running sums, so that additions do not wait for one another.
fn sum<T: Real>(values: &[T]) -> T {
    let mut lanes = [T::ZERO; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &v)| *lane += v);
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &v)| *lane += v);
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, dot, gradient, values};

    /// Batch, in and out channels, input, then kernel, stride, padding and dilation of both axes, groups.
    fn shapes() -> Vec<Conv2d> {
        let window = |[kernel, stride, padding, dilation]: [usize; 4]| Window { kernel, stride, padding, dilation };
        let shape = |batch, in_channels, out_channels, input, vertical, horizontal, groups| Conv2d {
            batch,
            in_channels,
            out_channels,
            input,
            window: [window(vertical), window(horizontal)],
            groups,
        };
        vec![
            shape(2, 1, 1, [1, 1], [1, 1, 0, 1], [1, 1, 0, 1], 1),
            shape(2, 3, 5, [4, 3], [1, 1, 0, 1], [1, 1, 0, 1], 1),
            shape(2, 2, 3, [5, 6], [3, 1, 1, 1], [3, 1, 1, 1], 1),
            shape(1, 2, 18, [6, 17], [5, 1, 2, 1], [5, 1, 2, 1], 1),
            shape(3, 2, 3, [7, 5], [3, 2, 1, 1], [2, 3, 0, 1], 1),
            shape(1, 2, 2, [7, 8], [3, 1, 2, 2], [2, 1, 1, 3], 1),
            shape(2, 4, 6, [5, 5], [3, 2, 1, 1], [3, 1, 2, 1], 2),
            shape(1, 3, 3, [4, 4], [3, 1, 1, 1], [3, 1, 1, 1], 3),
            shape(1, 1, 2, [3, 3], [2, 1, 4, 1], [2, 2, 3, 2], 1),
            shape(0, 2, 3, [4, 4], [3, 1, 1, 1], [3, 1, 1, 1], 1),
        ]
    }

    /// Every product of the definition, one by one.
    fn reference(shape: Conv2d, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let [out_height, out_width] = shape.output().unwrap();
        let [height, width] = shape.input;
        let [vertical, horizontal] = shape.window;
        let (ci, co) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let mut y = Vec::new();
        for (n, o, oy, ox) in (0..shape.batch).flat_map(|n| {
            (0..shape.out_channels)
                .flat_map(move |o| (0..out_height).flat_map(move |oy| (0..out_width).map(move |ox| (n, o, oy, ox))))
        }) {
            let mut sum = bias[o];
            for (c, ky, kx) in (0..ci).flat_map(|c| {
                (0..vertical.kernel).flat_map(move |ky| (0..horizontal.kernel).map(move |kx| (c, ky, kx)))
            }) {
                let iy = (oy * vertical.stride + ky * vertical.dilation).wrapping_sub(vertical.padding);
                let ix = (ox * horizontal.stride + kx * horizontal.dilation).wrapping_sub(horizontal.padding);
                if iy < height && ix < width {
                    let plane = n * shape.in_channels + o / co * ci + c;
                    let w = ((o * ci + c) * vertical.kernel + ky) * horizontal.kernel + kx;
                    sum += x[(plane * height + iy) * width + ix] * weight[w];
                }
            }
            y.push(sum);
        }
        y
    }

    struct Case {
        x: Vec<f64>,
        w: Vec<f64>,
        b: Vec<f64>,
        c: Vec<f64>,
    }

    fn case(shape: Conv2d) -> Case {
        let [height, width] = shape.output().unwrap();
        let [x, w, b, c] = [
            (1, shape.batch * shape.image_len()),
            (2, shape.weight_len()),
            (3, shape.out_channels),
            (4, shape.batch * shape.out_channels * height * width),
        ]
        .map(|(seed, len)| values(seed, len));
        Case { x, w, b, c }
    }

    fn run(shape: Conv2d, activation: Activation, x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NAN; reference(shape, x, w, b).len()];
        // A workspace full of another layer's garbage must not matter.
        let mut workspace = Workspace { columns: vec![f64::NAN; 7], ..Workspace::new() };
        forward(shape, activation, x, w, Some(b), &mut y, &mut workspace);
        y
    }

    #[test]
    fn forward_equals_the_definition() {
        for shape in shapes() {
            let Case { x, w, b, .. } = case(shape);
            let expected = reference(shape, &x, &w, &b);
            assert_close(&run(shape, Activation::Identity, &x, &w, &b), &expected, 1e-12);
            let expected: Vec<f64> = expected.into_iter().map(|y| y.max(0.0)).collect();
            assert_close(&run(shape, Activation::Relu, &x, &w, &b), &expected, 1e-12);
        }
    }

    /// Shapes that the direct convolution takes: every kernel width it has, tiles of several widths, channels that
    /// fill no, one or several blocks, vertical strides and dilations, borders larger than the kernel needs.
    fn direct_shapes() -> Vec<Conv2d> {
        let window = |[kernel, stride, padding, dilation]: [usize; 4]| Window { kernel, stride, padding, dilation };
        let mut shapes = Vec::new();
        for kernel in 1..=8 {
            shapes.push(Conv2d {
                batch: 2,
                in_channels: 23,
                out_channels: 22 + 5 * kernel,
                input: [7, 6 + 3 * kernel],
                window: [window([3, 1, 1, 1]), window([kernel, 1, kernel / 2, 1])],
                groups: 1,
            });
        }
        let first = shapes[4];
        let [_, horizontal] = first.window;
        shapes.push(Conv2d { window: [window([3, 2, 2, 2]), horizontal], ..first });
        shapes.push(Conv2d { window: [window([3, 1, 4, 1]), Window { padding: 6, ..horizontal }], ..first });
        shapes.push(Conv2d { window: [window([3, 1, 1, 2]), Window { dilation: 2, ..horizontal }], ..first });
        shapes.push(Conv2d { in_channels: 2, ..first });
        shapes.push(Conv2d { in_channels: 70, out_channels: 64, ..first });
        shapes.push(Conv2d { batch: 0, ..first });
        shapes
    }

    /// The direct convolution is written with intrinsics; the columns in double precision are the safe version.
    #[test]
    fn direct_convolution_equals_columns_within_rounding() {
        let single = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
        let double = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let mut workspace = Workspace::new();
        for shape in direct_shapes() {
            let Case { x, w, b, c } = case(shape);
            let [mut dx, mut dw, mut db] = [&x, &w, &b].map(|v| vec![f64::NAN; v.len()]);
            let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db) };
            backward(shape, &x, &w, &c, gradients, &mut Workspace::new());
            let y = run(shape, Activation::Relu, &x, &w, &b);
            let mut y1 = vec![f32::NAN; y.len()];
            let [x1, w1, b1, c1] = [&x, &w, &b, &c].map(|v| single(v));
            forward(shape, Activation::Relu, &x1, &w1, Some(&b1), &mut y1, &mut workspace);
            let [mut dx1, mut dw1, mut db1] = [&x, &w, &b].map(|v| vec![f32::NAN; v.len()]);
            let gradients = Gradients { input: Some(&mut dx1), weight: Some(&mut dw1), bias: Some(&mut db1) };
            backward(shape, &x1, &w1, &c1, gradients, &mut workspace);
            // A few thousand products of numbers below one, each off by 2^-24.
            for (single, expected) in [(&y1, &y), (&dx1, &dx), (&dw1, &dw), (&db1, &db)] {
                assert_close(&double(single), expected, 1e-4);
            }
        }
    }

    /// Without this the comparison above could compare columns with columns.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn direct_convolution_is_taken_where_it_applies() {
        let available = crate::avx512::is_available();
        for (i, shape) in direct_shapes().into_iter().enumerate() {
            let Case { x, w, c, .. } = case(shape);
            let [x, w, c] = [x, w, c].map(|v| v.into_iter().map(|v| v as f32).collect::<Vec<_>>());
            let [mut y, mut dx, mut dw] = [&c, &x, &w].map(|v| v.clone());
            let workspace = &mut Workspace::new();
            let finish = Finish { activation: Activation::Identity, bias: None, windows: 1 };
            let few_taps = shape.in_channels == 2;
            assert_eq!(batch::forward(shape, &x, &w, finish, &mut y, workspace), available && !few_taps, "{i}");
            let wide = shape.window[1].kernel > 7 || shape.window[1].dilation > 1;
            let taken = batch::backward_weight(shape, &x, &c, &mut dw, workspace);
            assert_eq!(taken, available && !few_taps && !wide, "{i}");
            let no_mirror = shape.window[0].stride > 1 || shape.window[0].padding > 2;
            let taken = batch::backward_input(shape, &w, &c, &mut dx, workspace);
            assert_eq!(taken, available && !few_taps && !no_mirror, "{i}");
        }
        let grouped = shapes()[6];
        let finish = Finish { activation: Activation::Identity, bias: None, windows: 1 };
        assert!(!batch::forward(grouped, &[0.0_f32], &[], finish, &mut [], &mut Workspace::new()));
    }

    #[test]
    fn single_precision_equals_the_definition_within_rounding() {
        for shape in shapes() {
            let Case { x, w, b, c } = case(shape);
            let single = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let mut y = vec![f32::NAN; c.len()];
            let (x1, w1, b1) = (single(&x), single(&w), single(&b));
            forward(shape, Activation::Identity, &x1, &w1, Some(&b1), &mut y, &mut Workspace::new());
            let y: Vec<f64> = y.into_iter().map(f64::from).collect();
            // A few hundred products of numbers below one, each off by 2^-24.
            assert_close(&y, &reference(shape, &x, &w, &b), 2e-5);
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for shape in shapes() {
            for activation in [Activation::Identity, Activation::Relu] {
                let Case { x, w, b, c } = case(shape);
                let mut dy = c.clone();
                activation.backward(&run(shape, activation, &x, &w, &b), &mut dy);
                let [mut dx, mut dw, mut db] = [&x, &w, &b].map(|v| vec![f64::NAN; v.len()]);
                let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db) };
                backward(shape, &x, &w, &dy, gradients, &mut Workspace::new());
                let loss = |x: &[f64], w: &[f64], b: &[f64]| dot(&run(shape, activation, x, w, b), &c);
                assert_close(&dx, &gradient(&x, |x| loss(x, &w, &b)), 1e-7);
                assert_close(&dw, &gradient(&w, |w| loss(&x, w, &b)), 1e-7);
                assert_close(&db, &gradient(&b, |b| loss(&x, &w, b)), 1e-7);
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_have_no_output() {
        let shape = shapes()[6];
        assert_eq!(Conv2d { groups: 4, ..shape }.output(), None);
        assert_eq!(Conv2d { groups: 0, ..shape }.output(), None);
        assert_eq!(Conv2d { input: [1, 0], window: [Window::new(3), Window::new(3)], ..shape }.output(), None);
    }
}
