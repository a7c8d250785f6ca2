//! What lies under every position of a window, as columns of a matrix.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Device, Layout, Result, Shape, Storage, Tensor, bail};

use crate::window::Window;

/// Where the windows of a plane find their values, and where each value's gradient comes from. Both are lists of
/// positions on the device, so that either way is one selection: candle's own gradient of a selection adds one value
/// after the other, with one thread for each plane.
#[derive(Debug)]
pub struct Columns {
    /// Height and width of the plane.
    input: [usize; 2],
    /// Elements under a window.
    kernel: usize,
    /// Positions of the window, vertically and horizontally.
    output: [usize; 2],
    /// For each element and position its place in the plane; behind the plane stands a zero for what is outside.
    sources: Tensor,
    /// As many places among the columns for each value of the plane and the zero; behind the columns stands a zero.
    sinks: Tensor,
}

impl Columns {
    /// Of planes of `input` height and width. Takes 8 bytes for each element under each position of the window.
    ///
    /// # Errors
    /// If the window does not fit, or there are 2^32 elements under its positions.
    pub fn new(window: [Window; 2], input: [usize; 2], device: &Device) -> Result<Self> {
        let (Some(height), Some(width)) = (window[0].output(input[0]), window[1].output(input[1])) else {
            bail!("columns: {window:?} does not fit planes of {input:?}")
        };
        let (kernel, output) = (window[0].kernel * window[1].kernel, [height, width]);
        let (values, places) = (input[0] * input[1], (kernel * height).saturating_mul(width));
        let (Ok(outside), Ok(_)) = (u32::try_from(values), u32::try_from(places)) else {
            bail!("columns: {window:?} over planes of {input:?} has 2^32 elements or more")
        };
        let mut sources = vec![outside; places];
        let mut sinks = vec![Vec::new(); values + 1];
        for element in 0..kernel {
            let at = [element / window[1].kernel, element % window[1].kernel];
            let [rows, columns] = [0, 1].map(|axis| window[axis].inside(at[axis], input[axis], output[axis]));
            for row in rows.0..rows.1 {
                for column in columns.0..columns.1 {
                    let source = window[0].position(row, at[0]) * input[1] + window[1].position(column, at[1]);
                    let place = (element * height + row) * width + column;
                    // Both are below the numbers that were found to fit.
                    sources[place] = source as u32;
                    sinks[source].push(place as u32);
                }
            }
        }
        // As many lists as a value has windows at the most; what a list lacks is the zero behind the columns.
        let most = sinks.iter().map(Vec::len).max().unwrap_or_default().max(1);
        let nth = |nth: usize| sinks.iter().map(move |list| list.get(nth).copied().unwrap_or(places as u32));
        let sinks: Vec<u32> = (0..most).flat_map(nth).collect();
        Ok(Self { input, kernel, output, sources: Tensor::new(sources, device)?, sinks: Tensor::new(sinks, device)? })
    }

    /// Positions of the window, vertically and horizontally.
    #[must_use]
    pub const fn output(&self) -> [usize; 2] {
        self.output
    }

    /// Elements under a window.
    #[must_use]
    pub const fn kernel(&self) -> usize {
        self.kernel
    }

    /// The columns of every plane of `x` `[planes, height, width]`: `[planes, elements, positions]`.
    ///
    /// # Errors
    /// If `x` has planes of another size, or the types or devices do not fit.
    pub fn of(&self, x: &Tensor) -> Result<Tensor> {
        let (planes, height, width) = x.dims3()?;
        if [height, width] != self.input {
            bail!("columns: planes of {height} by {width} came, {:?} are expected", self.input)
        }
        let pick = Pick { sources: self.sources.clone(), sinks: self.sinks.clone() };
        let columns = with_zero(&x.reshape((planes, height * width))?)?.apply_op1(pick)?;
        columns.reshape((planes, self.kernel, self.output[0] * self.output[1]))
    }
}

/// The rows of `x` with a zero behind each.
fn with_zero(x: &Tensor) -> Result<Tensor> {
    Tensor::cat(&[x, &Tensor::zeros((x.dim(0)?, 1), x.dtype(), x.device())?], 1)
}

/// Selects from the second dimension, and knows where each value was selected.
struct Pick {
    sources: Tensor,
    sinks: Tensor,
}

impl Pick {
    fn select<B: BackendStorage>(values: &B, layout: &Layout, places: &B, of: &Layout) -> Result<(B, Shape)> {
        let (rows, _) = layout.shape().dims2()?;
        Ok((values.index_select(places, layout, of, 1)?, Shape::from((rows, of.shape().elem_count()))))
    }
}

impl CustomOp1 for Pick {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (places, of) = self.sources.storage_and_layout();
        let Storage::Cpu(places) = &*places else { bail!("columns: made for another device") };
        Self::select(storage, layout, places, of)
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (places, of) = self.sources.storage_and_layout();
        let Storage::Cuda(places) = &*places else { bail!("columns: made for another device") };
        Self::select(storage, layout, places, of)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (rows, values) = x.dims2()?;
        let taken = with_zero(dy)?.index_select(&self.sinks, 1)?;
        Ok(Some(taken.reshape((rows, (), values))?.sum(1)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::testing::{check_gradients, device, list, tensor, tensor_of};

    fn columns(window: [Window; 2], input: [usize; 2]) -> Result<Columns> {
        Columns::new(window, input, &device())
    }

    #[test]
    fn columns_by_hand() {
        let x = tensor_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1, 2, 3]);
        let window = [Window::new(2), Window { stride: 2, padding: 1, ..Window::new(2) }];
        let got = columns(window, [2, 3]).unwrap();
        assert_eq!((got.kernel(), got.output()), (4, [1, 2]));
        assert_eq!(list(&got.of(&x).unwrap()), [0.0, 2.0, 1.0, 3.0, 0.0, 5.0, 4.0, 6.0]);
    }

    #[test]
    fn gradients_agree_with_differences_also_where_windows_leave_values_out() {
        let square = |kernel, stride, padding, dilation| [Window { kernel, stride, padding, dilation }; 2];
        for window in
            [square(2, 1, 0, 1), square(3, 1, 2, 1), square(2, 3, 0, 1), square(2, 1, 1, 3), square(1, 2, 3, 1)]
        {
            let columns = columns(window, [4, 5]).unwrap();
            check_gradients(&[tensor(1, &[3, 4, 5])], |[x]| columns.of(x));
            check_gradients(&[tensor(1, &[5, 4, 3])], |[x]| columns.of(&x.permute((2, 1, 0))?));
        }
    }

    /// The largest kernels over the largest planes would take terabytes; nothing may be allocated for them.
    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(columns([Window::new(3); 2], [2, 5]).is_err());
        assert!(columns([Window::new(1024); 2], [2048, 2048]).is_err());
        let columns = columns([Window::new(2); 2], [4, 5]).unwrap();
        assert!(columns.of(&tensor(1, &[3, 5, 4])).is_err());
        assert!(columns.of(&tensor(1, &[4, 5])).is_err());
    }
}
