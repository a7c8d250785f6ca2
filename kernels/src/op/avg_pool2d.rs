//! Average pooling.

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor, bail};

use super::unary::{Unary, apply};
use super::values::{Element, compute, read};
use super::views::views;
use crate::avg_pool2d::{self, AvgPool2d};
use crate::window::Window;

/// The mean under every position of the window, over the last two dimensions of `x` `[batch, channels, height, width]`;
/// padding counts as zeros.
///
/// # Errors
/// If the window does not fit or the type is not f32 or f64.
pub fn avg_pool2d(x: &Tensor, window: [Window; 2]) -> Result<Tensor> {
    if x.device().is_cpu() { apply(AvgPool2dOp { window }, x) } else { composed(x, window) }
}

/// [`avg_pool2d()`] out of candle's operators, whose own pooling has no padding and no gradient where windows overlap.
///
/// # Errors
/// If the window does not fit.
pub fn composed(x: &Tensor, window: [Window; 2]) -> Result<Tensor> {
    let (_, output) = shape(window, x.shape())?;
    let (_, _, height, width) = output.dims4()?;
    Tensor::stack(&views(x, window, 0.0, [height, width])?, 4)?.mean(4)
}

fn shape(window: [Window; 2], x: &Shape) -> Result<(AvgPool2d, Shape)> {
    let (batch, channels, height, width) = x.dims4()?;
    let pool = AvgPool2d { planes: batch * channels, input: [height, width], window };
    // The same limit as that of the other pooling: places of a plane are counted in 32 bits on other devices.
    let is_countable = u32::try_from(height.saturating_mul(width)).is_ok();
    let Some([height, width]) = pool.output().filter(|_| is_countable) else {
        bail!("avg_pool2d: {window:?} does not fit input {x:?}")
    };
    Ok((pool, Shape::from((batch, channels, height, width))))
}

#[derive(Debug)]
struct AvgPool2dOp {
    window: [Window; 2],
}

impl Unary for AvgPool2dOp {
    const NAME: &'static str = "avg_pool2d";

    fn forward_in<T: Element>(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (pool, output) = shape(self.window, layout.shape())?;
        let mut y = vec![T::ZERO; output.elem_count()];
        avg_pool2d::forward(pool, read::<T>(storage, layout)?, &mut y);
        Ok((T::to_cpu_storage_owned(y), output))
    }

    fn backward_in<T: Element>(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let (pool, _) = shape(self.window, x.shape())?;
        compute::<T, 1>([dy], x.shape(), |[dy], dx| avg_pool2d::backward(pool, dy, dx))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::op::testing::{check_gradients, is_tested, on_cpu, same, tensor};

    fn cases() -> Vec<[Window; 2]> {
        let square = |kernel, stride, padding| [Window { kernel, stride, padding, dilation: 1 }; 2];
        let mixed = [Window { stride: 2, ..Window::new(3) }, Window { padding: 1, ..Window::new(2) }];
        vec![square(2, 2, 0), square(3, 1, 1), square(3, 2, 1), mixed]
    }

    #[test]
    fn equals_candles_without_padding() {
        let x = tensor(1, &[2, 3, 6, 7]);
        same(&avg_pool2d(&x, cases()[0]).unwrap(), &x.avg_pool2d(2).unwrap());
        let overlapping = [Window { stride: 2, ..Window::new(3) }; 2];
        same(&avg_pool2d(&x, overlapping).unwrap(), &x.avg_pool2d_with_stride(3, 2).unwrap());
    }

    #[test]
    fn composition_for_other_devices_is_the_same_function() {
        let x = tensor(1, &[2, 3, 6, 7]);
        for window in cases() {
            same(&avg_pool2d(&x, window).unwrap(), &composed(&on_cpu(&x), window).unwrap());
            check_gradients(&[tensor(4, &[1, 2, 5, 6])], |[x]| composed(x, window));
        }
    }

    #[test]
    fn gradients_agree_with_differences_also_where_windows_overlap() {
        for window in cases() {
            check_gradients(&[tensor(4, &[1, 2, 5, 6])], |[x]| avg_pool2d(x, window));
            for dims in [[0, 2, 5, 6], [2, 0, 5, 6]].iter().filter(|dims| is_tested(*dims)) {
                check_gradients(&[tensor(4, dims)], |[x]| avg_pool2d(x, window));
            }
            check_gradients(&[tensor(4, &[6, 5, 2, 1])], |[x]| avg_pool2d(&x.permute((3, 2, 1, 0))?, window));
        }
    }

    #[test]
    fn windows_and_types_that_do_not_fit_are_errors() {
        let x = on_cpu(&tensor(1, &[1, 1, 2, 2]));
        assert!(avg_pool2d(&x, [Window::new(3); 2]).is_err());
        assert!(avg_pool2d(&x.reshape((2, 2)).unwrap(), [Window::new(2); 2]).is_err());
        assert!(avg_pool2d(&x.to_dtype(DType::U8).unwrap(), [Window::new(2); 2]).is_err());
    }
}
