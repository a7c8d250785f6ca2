//! A convolution as a matrix product: the image unrolled into columns, and columns added back into an image.
//!
//! Row `(channel, ky, kx)` of the columns holds, for every window, the input under that element of the window.
//! One image at a time: the columns of a whole batch leave the cache, one image's stay.

use crate::real::Real;
use crate::window::Window;

/// One image (or one group's channels of it) and the window that slides over it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unroll {
    pub(crate) channels: usize,
    /// Height and width of the input.
    pub(crate) input: [usize; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
    pub(crate) window: [Window; 2],
}

impl Unroll {
    /// Rows of the columns matrix.
    pub(crate) fn rows(self) -> usize {
        self.channels * self.window[0].kernel * self.window[1].kernel
    }

    /// Windows, which are the columns matrix's columns.
    pub(crate) fn windows(self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Calls `each(row, plane, ky, kx)` for every row of the columns matrix.
    fn rows_of(self, mut each: impl FnMut(usize, usize, usize, usize)) {
        let [ky_end, kx_end] = self.window.map(|w| w.kernel);
        let mut row = 0;
        for channel in 0..self.channels {
            for ky in 0..ky_end {
                for kx in 0..kx_end {
                    each(row, channel, ky, kx);
                    row += 1;
                }
            }
        }
    }

    /// Unrolls `image` into `columns`, `[rows, windows]`; elements outside the image are zero.
    pub(crate) fn gather<T: Real>(self, image: &[T], columns: &mut [T]) {
        let ([height, width], [out_height, out_width]) = (self.input, self.output);
        let [vertical, horizontal] = self.window;
        self.rows_of(|row, channel, ky, kx| {
            let plane = &image[channel * height * width..][..height * width];
            let target = &mut columns[row * out_height * out_width..][..out_height * out_width];
            let (top, bottom) = vertical.inside(ky, height, out_height);
            let (left, right) = horizontal.inside(kx, width, out_width);
            target[..top * out_width].fill(T::ZERO);
            target[bottom * out_width..].fill(T::ZERO);
            for y in top..bottom {
                let line = &mut target[y * out_width..][..out_width];
                line[..left].fill(T::ZERO);
                line[right..].fill(T::ZERO);
                if left == right {
                    continue;
                }
                let start = vertical.position(y, ky) * width + horizontal.position(left, kx);
                if horizontal.stride == 1 {
                    line[left..right].copy_from_slice(&plane[start..][..right - left]);
                } else {
                    let source = plane[start..].iter().step_by(horizontal.stride);
                    line[left..right].iter_mut().zip(source).for_each(|(t, &s)| *t = s);
                }
            }
        });
    }

    /// Adds every element of `columns` to where [`Unroll::gather`] read it.
    pub(crate) fn scatter<T: Real>(self, columns: &[T], image: &mut [T]) {
        let ([height, width], [out_height, out_width]) = (self.input, self.output);
        let [vertical, horizontal] = self.window;
        self.rows_of(|row, channel, ky, kx| {
            let plane = &mut image[channel * height * width..][..height * width];
            let source = &columns[row * out_height * out_width..][..out_height * out_width];
            let (top, bottom) = vertical.inside(ky, height, out_height);
            let (left, right) = horizontal.inside(kx, width, out_width);
            for y in top..bottom {
                if left == right {
                    continue;
                }
                let line = &source[y * out_width..][left..right];
                let start = vertical.position(y, ky) * width + horizontal.position(left, kx);
                if horizontal.stride == 1 {
                    plane[start..][..line.len()].iter_mut().zip(line).for_each(|(t, &s)| *t += s);
                } else {
                    let target = plane[start..].iter_mut().step_by(horizontal.stride);
                    target.zip(line).for_each(|(t, &s)| *t += s);
                }
            }
        });
    }
}
