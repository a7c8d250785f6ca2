//! Where a sliding window falls: the geometry that convolution and pooling share, one axis at a time.

/// One axis of a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Elements under the window.
    pub kernel: usize,
    /// Steps between windows.
    pub stride: usize,
    /// Elements imagined on either side of the input.
    pub padding: usize,
    /// Steps between the window's elements; 1 is dense.
    pub dilation: usize,
}

impl Window {
    /// A dense window of `kernel` elements that moves by one.
    #[must_use]
    pub fn new(kernel: usize) -> Self {
        Self { kernel, stride: 1, padding: 0, dilation: 1 }
    }

    /// Number of windows over `input` elements, or `None` where none fits, a size is zero or the sizes overflow.
    #[must_use]
    pub fn output(self, input: usize) -> Option<usize> {
        if self.kernel == 0 || self.stride == 0 || self.dilation == 0 {
            return None;
        }
        let extent = (self.kernel - 1).checked_mul(self.dilation)?.checked_add(1)?;
        let padded = self.padding.checked_mul(2)?.checked_add(input)?;
        Some(padded.checked_sub(extent)? / self.stride + 1)
    }

    /// The windows `low..high` out of `outputs` whose element `at` lies inside the input.
    pub(crate) fn inside(self, at: usize, input: usize, outputs: usize) -> (usize, usize) {
        let offset = at * self.dilation;
        let low = self.padding.saturating_sub(offset).div_ceil(self.stride);
        let high = (input + self.padding).saturating_sub(offset).div_ceil(self.stride).min(outputs);
        (low.min(high), high)
    }

    /// The input element under element `at` of window `index`; only for windows that [`Window::inside`] names.
    pub(crate) fn position(self, index: usize, at: usize) -> usize {
        index * self.stride + at * self.dilation - self.padding
    }
}

/// The places of a plane of `input` height and width under a window, by the definition, one after the other.
#[cfg(all(test, feature = "train"))]
pub(crate) fn under(window: [Window; 2], input: [usize; 2], [row, column]: [usize; 2]) -> Vec<usize> {
    let along = |axis: usize, index: usize| {
        let Window { kernel, stride, padding, dilation } = window[axis];
        let places = (0..kernel).map(move |at| (index * stride + at * dilation).checked_sub(padding));
        places.flatten().filter(move |&place| place < input[axis])
    };
    along(0, row).flat_map(|y| along(1, column).map(move |x| y * input[1] + x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_sizes_by_hand() {
        let window = |kernel, stride, padding, dilation| Window { kernel, stride, padding, dilation };
        assert_eq!(window(5, 1, 2, 1).output(28), Some(28));
        assert_eq!(window(2, 2, 0, 1).output(7), Some(3));
        assert_eq!(window(3, 2, 1, 2).output(8), Some(3));
        assert_eq!(window(3, 1, 0, 1).output(2), None);
        assert_eq!(window(0, 1, 0, 1).output(2), None);
        assert_eq!(window(1, 0, 0, 1).output(2), None);
        assert_eq!(window(usize::MAX, 1, 0, usize::MAX).output(2), None);
    }

    #[test]
    fn inside_agrees_with_trying_every_position() {
        for (kernel, stride, padding, dilation) in [(3, 1, 1, 1), (3, 2, 3, 2), (2, 3, 0, 1), (4, 1, 5, 3)] {
            let window = Window { kernel, stride, padding, dilation };
            for input in 1..12 {
                let Some(outputs) = window.output(input) else { continue };
                for at in 0..kernel {
                    let (low, high) = window.inside(at, input, outputs);
                    for index in 0..outputs {
                        let position = index * stride + at * dilation;
                        let expected = position >= padding && position - padding < input;
                        assert_eq!((low..high).contains(&index), expected, "{window:?} {input} {at} {index}");
                    }
                }
            }
        }
    }
}
