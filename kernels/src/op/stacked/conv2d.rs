//! Two-dimensional convolutions, as products of matrices of weights and columns.

use candle_core::{Result, Tensor, bail};

use super::Columns;

/// The convolution for each model: `x` `[models, batch, channels, height, width]`, the weight
/// `[models, out_channels, channels / groups, kernel height, kernel width]`, the bias `[models, out_channels]`. `columns` are
/// those of the kernel over the planes. Takes memory for the columns of all examples, and for the weights once for
/// each example: every example is a product of its own, which needs no value moved before or after.
///
/// # Errors
/// If the shapes, types or devices do not fit.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, columns: &Columns, groups: usize) -> Result<Tensor> {
    let (models, batch, channels, height, width) = x.dims5()?;
    let (_, out, group_channels, kernel_height, kernel_width) = weight.dims5()?;
    if groups == 0 || group_channels * groups != channels || !out.is_multiple_of(groups) {
        bail!("conv2d: input {:?} and weight {:?} do not fit in {groups} groups", x.shape(), weight.shape())
    }
    let [rows, inner] = [out / groups, group_channels * kernel_height * kernel_width];
    let [down, across] = columns.output();
    let columns = columns.of(&x.reshape((models * batch * channels, height, width))?)?;
    let columns = columns.reshape((models * batch * groups, inner, down * across))?;
    let weight = weight.reshape((models, 1, groups, rows, inner))?;
    let weight = weight.broadcast_as((models, batch, groups, rows, inner))?;
    let y = weight.reshape((models * batch * groups, rows, inner))?.matmul(&columns)?;
    let y = y.reshape((models, batch, out, down, across))?;
    match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((models, 1, out, 1, 1))?),
        None => Ok(y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Conv2dOptions;
    use crate::op::testing::{check_gradients, device, each, same, tensor};
    use crate::window::Window;

    /// The window, groups, and input, weight and bias of two models with two examples each.
    fn cases() -> Vec<(Window, usize, [Tensor; 3])> {
        let inputs = |x: [usize; 3], w: [usize; 4]| {
            let x = tensor(1, &[[2, 2].as_slice(), &x].concat());
            [x, tensor(2, &[[2].as_slice(), &w].concat()), tensor(3, &[2, w[0]])]
        };
        vec![
            (Window::new(2), 1, inputs([2, 4, 3], [3, 2, 2, 2])),
            (Window { padding: 2, ..Window::new(3) }, 1, inputs([1, 3, 3], [2, 1, 3, 3])),
            (Window { stride: 2, padding: 1, ..Window::new(2) }, 2, inputs([4, 4, 3], [2, 2, 2, 2])),
            (Window { dilation: 2, ..Window::new(2) }, 2, inputs([2, 4, 3], [4, 1, 2, 2])),
        ]
    }

    fn stacked(window: Window, groups: usize, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
        let planes = [x.dim(3)?, x.dim(4)?];
        conv2d(x, w, b, &Columns::new([window; 2], planes, &device())?, groups)
    }

    #[test]
    fn each_model_computes_as_if_it_were_alone() {
        for (window, groups, [x, w, b]) in cases() {
            let Window { stride, padding, dilation, .. } = window;
            let options = Conv2dOptions {
                stride: [stride; 2],
                padding: [padding; 2],
                dilation: [dilation; 2],
                groups,
                ..Conv2dOptions::default()
            };
            let alone = each([&x, &w, &b], |[x, w, b]| crate::op::conv2d(x, w, Some(b), options));
            same(&stacked(window, groups, &x, &w, Some(&b)).unwrap(), &alone);
            let alone = each([&x, &w], |[x, w]| crate::op::conv2d(x, w, None, options));
            same(&stacked(window, groups, &x, &w, None).unwrap(), &alone);
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for (window, groups, inputs) in cases() {
            check_gradients(&inputs, |[x, w, b]| stacked(window, groups, x, w, Some(b)));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let (x, w) = (tensor(1, &[2, 2, 2, 4, 3]), tensor(2, &[2, 3, 2, 2, 2]));
        let run = |w: &Tensor, groups| stacked(Window::new(2), groups, &x, w, None);
        assert!(run(&w, 1).is_ok());
        assert!(run(&w, 0).is_err());
        assert!(run(&w, 2).is_err());
        assert!(run(&tensor(2, &[3, 3, 2, 2, 2]), 1).is_err());
        assert!(run(&tensor(2, &[2, 3, 2, 3, 2]), 1).is_err());
    }
}
