//! A batch through the direct convolution, where it applies: f32, one group, a horizontal stride of one, AVX-512.
//!
//! Every function returns whether it did the work; if not, the columns do. Both agree within rounding.

use super::direct::{Direct, WIDTH_MAX};
use super::{Conv2d, Finish};
use crate::avx512;
use crate::real::Real;
use crate::workspace::{Workspace, take};

/// Fewer taps than this do not pay for turning tiles and gradients around.
const TAPS_MIN: usize = 64;
/// Fewer result channels than this leave most of a register's lanes empty.
const CHANNELS_MIN: usize = 12;

/// Writes `y`, finished.
pub(super) fn forward<T: Real>(
    shape: Conv2d,
    x: &[T],
    weight: &[T],
    finish: Finish<'_, T>,
    y: &mut [T],
    workspace: &mut Workspace<T>,
) -> bool {
    let (Some(direct), Some(x), Some(weight), Some(y)) =
        (of(shape), T::as_single(x), T::as_single(weight), T::as_single_mut(y))
    else {
        return false;
    };
    let taps = weight.len() / shape.out_channels.max(1);
    if taps < TAPS_MIN || shape.out_channels < CHANNELS_MIN {
        return false;
    }
    let Finish { activation, bias, windows } = finish;
    let finish = Finish { activation, bias: bias.and_then(T::as_single), windows };
    let weight = |channel: usize, tap: usize| weight[channel * taps + tap];
    convolve(direct, x, weight, y, workspace, |result| finish.apply(0, result));
    true
}

/// Writes the input's gradient: the result's gradient convolved with the mirrored kernel.
pub(super) fn backward_input<T: Real>(
    shape: Conv2d,
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
    workspace: &mut Workspace<T>,
) -> bool {
    let (Some(forward), Some(weight), Some(dy), Some(dx)) =
        (of(shape), T::as_single(weight), T::as_single(dy), T::as_single_mut(dx))
    else {
        return false;
    };
    let [vertical, horizontal] = shape.window;
    let border = |w: crate::window::Window| ((w.kernel - 1) * w.dilation).checked_sub(w.padding);
    let (Some(top), Some(left)) = (border(vertical), border(horizontal)) else { return false };
    let kernel = vertical.kernel * horizontal.kernel;
    if vertical.stride != 1 || shape.in_channels < CHANNELS_MIN || shape.out_channels * kernel < TAPS_MIN {
        return false;
    }
    let mirrored = Direct {
        channels: shape.out_channels,
        out_channels: shape.in_channels,
        input: forward.output,
        padding: [top, left],
        output: shape.input,
        ..forward
    };
    let weight = |channel: usize, tap: usize| {
        weight[(tap / kernel * shape.in_channels + channel) * kernel + kernel - 1 - tap % kernel]
    };
    convolve(mirrored, dy, weight, dx, workspace, |_| ());
    true
}

/// Writes the weight's gradient.
pub(super) fn backward_weight<T: Real>(
    shape: Conv2d,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
    workspace: &mut Workspace<T>,
) -> bool {
    let (Some(direct), Some(x), Some(dy), Some(dw)) =
        (of(shape), T::as_single(x), T::as_single(dy), T::as_single_mut(dw))
    else {
        return false;
    };
    let horizontal = shape.window[1];
    if dw.len() / shape.out_channels < TAPS_MIN {
        return false;
    }
    if horizontal.dilation != 1 || horizontal.kernel > WIDTH_MAX || shape.out_channels < CHANNELS_MIN {
        return false;
    }
    let scratch = &mut workspace.direct;
    direct.offsets(&mut scratch.offsets);
    let padded = take(&mut scratch.padded, direct.padded_len());
    padded.fill(0.0);
    let sums = take(&mut scratch.packed, direct.packed_len());
    sums.fill(0.0);
    let turned = take(&mut scratch.turned, direct.turned_len());
    let results = dy.chunks_exact(shape.out_channels * direct.output[0] * direct.output[1]);
    for (image, result) in x.chunks_exact(shape.image_len()).zip(results) {
        direct.pad(image, padded);
        direct.turn(result, turned);
        #[expect(unsafe_code, reason = "a function compiled for more features may only be called where they exist")]
        // SAFETY: the processor has AVX-512 (`of` gives nothing otherwise).
        unsafe {
            direct.correlate(&scratch.offsets, padded, turned, sums);
        }
    }
    direct.unpack(sums, dw);
    true
}

fn of(shape: Conv2d) -> Option<Direct> {
    let [vertical, horizontal] = shape.window;
    let fits = shape.groups == 1 && horizontal.stride == 1 && vertical.kernel * horizontal.kernel > 1;
    if !fits || shape.image_len() == 0 || shape.out_channels == 0 || !avx512::is_available() {
        return None;
    }
    Some(Direct {
        channels: shape.in_channels,
        out_channels: shape.out_channels,
        input: shape.input,
        padding: [vertical.padding, horizontal.padding],
        kernel: [vertical.kernel, horizontal.kernel],
        dilation: [vertical.dilation, horizontal.dilation],
        vertical_stride: vertical.stride,
        output: shape.output()?,
    })
}

fn convolve<T: Real>(
    direct: Direct,
    images: &[f32],
    weight: impl Fn(usize, usize) -> f32,
    results: &mut [f32],
    workspace: &mut Workspace<T>,
    finish: impl Fn(&mut [f32]),
) {
    let scratch = &mut workspace.direct;
    direct.offsets(&mut scratch.offsets);
    let packed = take(&mut scratch.packed, direct.packed_len());
    direct.pack(packed, weight);
    let padded = take(&mut scratch.padded, direct.padded_len());
    padded.fill(0.0);
    let images = images.chunks_exact(direct.channels * direct.input[0] * direct.input[1]);
    let results = results.chunks_exact_mut(direct.out_channels * direct.output[0] * direct.output[1]);
    for (image, result) in images.zip(results) {
        direct.pad(image, padded);
        #[expect(unsafe_code, reason = "a function compiled for more features may only be called where they exist")]
        // SAFETY: the processor has AVX-512 (`of` gives nothing otherwise).
        unsafe {
            direct.convolve(&scratch.offsets, padded, packed, result);
        }
        finish(result);
    }
}
