//! Maximum pooling.

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor, bail};

use super::unary::{Unary, apply};
use super::values::{Element, compute, read};
use super::views::views;
use crate::max_pool2d::{self, MaxPool2d};
use crate::window::Window;

/// The maximum under every position of the window, over the last two dimensions of `x`
/// `[batch, channels, height, width]`.
///
/// # Errors
/// If the window does not fit (see [`MaxPool2d::output`]) or the type is not f32 or f64.
pub fn max_pool2d(x: &Tensor, window: [Window; 2]) -> Result<Tensor> {
    if x.device().is_cpu() { apply(MaxPool2dOp { window }, x) } else { composed(x, window) }
}

/// [`max_pool2d()`] out of candle's operators. candle's own pooling has a wrong gradient where kernel and stride differ, and no
/// padding; its maximum loses a NaN and gives every one of equal values the whole gradient.
///
/// # Errors
/// If the window does not fit.
pub fn composed(x: &Tensor, window: [Window; 2]) -> Result<Tensor> {
    let (_, output) = shape(window, x.shape())?;
    let (_, _, height, width) = output.dims4()?;
    let views = views(x, window, f32::NEG_INFINITY, [height, width])?;
    let (first, others) = views.split_first().expect("a window that fits has an element");
    others.iter().try_fold(first.clone(), |best, next| {
        let stays = (next.le(&best)? + best.ne(&best)?)?;
        stays.where_cond(&best, next)
    })
}

fn shape(window: [Window; 2], x: &Shape) -> Result<(MaxPool2d, Shape)> {
    let (batch, channels, height, width) = x.dims4()?;
    let pool = MaxPool2d { planes: batch * channels, input: [height, width], window };
    let Some([height, width]) = pool.output() else { bail!("max_pool2d: {window:?} does not fit input {x:?}") };
    Ok((pool, Shape::from((batch, channels, height, width))))
}

/// The backward pass searches the maxima again: the operator has nowhere to keep them that a second forward pass
/// before the backward one would not overwrite.
#[derive(Debug)]
struct MaxPool2dOp {
    window: [Window; 2],
}

impl Unary for MaxPool2dOp {
    const NAME: &'static str = "max_pool2d";

    fn forward_in<T: Element>(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (pool, output) = shape(self.window, layout.shape())?;
        let mut y = vec![T::ZERO; output.elem_count()];
        let mut indices = vec![0; y.len()];
        max_pool2d::forward(pool, read::<T>(storage, layout)?, &mut y, &mut indices);
        Ok((T::to_cpu_storage_owned(y), output))
    }

    fn backward_in<T: Element>(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let (pool, output) = shape(self.window, x.shape())?;
        compute::<T, 2>([x, dy], x.shape(), |[x, dy], dx| {
            let mut y = vec![T::ZERO; output.elem_count()];
            let mut indices = vec![0; y.len()];
            max_pool2d::forward(pool, x, &mut y, &mut indices);
            max_pool2d::backward(pool, dy, &indices, dx);
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;
    use crate::op::testing::{check_gradients, is_tested, list, on_cpu, same, tensor, tensor_of};

    fn cases() -> Vec<[Window; 2]> {
        let square = |kernel, stride, padding, dilation| [Window { kernel, stride, padding, dilation }; 2];
        let mixed = [Window { stride: 2, ..Window::new(3) }, Window { padding: 1, ..Window::new(2) }];
        vec![square(2, 2, 0, 1), square(3, 1, 1, 1), square(3, 2, 1, 1), square(2, 1, 0, 2), mixed]
    }

    #[test]
    fn equals_candles_where_kernel_and_stride_agree() {
        let x = tensor(1, &[2, 3, 6, 7]);
        same(&max_pool2d(&x, cases()[0]).unwrap(), &x.max_pool2d(2).unwrap());
    }

    #[test]
    fn composition_for_other_devices_is_the_same_function() {
        let x = tensor(1, &[2, 3, 6, 7]);
        for window in cases() {
            same(&max_pool2d(&x, window).unwrap(), &composed(&on_cpu(&x), window).unwrap());
            check_gradients(&[tensor(4, &[1, 2, 5, 6])], |[x]| composed(x, window));
        }
    }

    /// Convolved backgrounds are ties everywhere: a gradient that each of them got whole would be several times too large.
    /// What diverges on the cores must not go on elsewhere.
    #[test]
    fn composition_takes_the_first_of_equals_and_keeps_not_a_number() {
        let few: Vec<f64> = list(&tensor(1, &[84])).into_iter().map(|value| (2.0 * value).round()).collect();
        let mut holed = few.clone();
        (holed[17], holed[45], holed[46]) = (f64::NAN, f64::NAN, f64::NAN);
        for values in [vec![1.0; 84], few, holed] {
            let x = tensor_of(&values, &[1, 2, 6, 7]);
            for window in cases() {
                let run = |f: fn(&Tensor, [Window; 2]) -> Result<Tensor>, x: &Tensor| {
                    let x = Var::from_tensor(x).unwrap();
                    let y = f(x.as_tensor(), window).unwrap();
                    // Whole numbers, whose sums are exact in any order.
                    let coefficients =
                        (tensor(2, y.dims()) * 9.0).unwrap().round().unwrap().to_device(y.device()).unwrap();
                    let gradients = (&y * coefficients).unwrap().backward().unwrap();
                    let bits = |tensor: &Tensor| list(tensor).into_iter().map(f64::to_bits).collect::<Vec<_>>();
                    (bits(&y), bits(gradients.get(x.as_tensor()).unwrap()))
                };
                assert_eq!(run(composed, &x), run(max_pool2d, &on_cpu(&x)), "{window:?}");
            }
        }
    }

    #[test]
    fn gradients_agree_with_differences_also_where_windows_overlap() {
        for window in cases() {
            check_gradients(&[tensor(4, &[1, 2, 5, 6])], |[x]| max_pool2d(x, window));
            for dims in [[0, 2, 5, 6], [2, 0, 5, 6]].iter().filter(|dims| is_tested(*dims)) {
                check_gradients(&[tensor(4, dims)], |[x]| max_pool2d(x, window));
            }
            check_gradients(&[tensor(4, &[6, 5, 2, 1])], |[x]| max_pool2d(&x.permute((3, 2, 1, 0))?, window));
        }
    }

    #[test]
    fn windows_and_types_that_do_not_fit_are_errors() {
        let x = on_cpu(&tensor(1, &[1, 1, 2, 2]));
        assert!(max_pool2d(&x, [Window::new(3); 2]).is_err());
        assert!(max_pool2d(&x.reshape((2, 2)).unwrap(), [Window::new(2); 2]).is_err());
        assert!(max_pool2d(&x.to_dtype(DType::U8).unwrap(), [Window::new(2); 2]).is_err());
    }
}
