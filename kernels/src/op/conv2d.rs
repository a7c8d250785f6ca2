//! The two-dimensional convolution.

use candle_core::{CpuStorage, Result, Shape, Tensor, bail};

use super::parametrised::{Input, Operands, Parametrised};
use super::values::{Element, before, read};
use crate::conv2d::{self, Conv2d};
use crate::relu::Activation;
use crate::window::Window;
use crate::workspace::Workspace;

/// How the kernel moves. Its size is the weight's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Vertical and horizontal steps.
    pub stride: [usize; 2],
    /// Zeros imagined on either side, vertically and horizontally.
    pub padding: [usize; 2],
    /// Steps between the kernel's elements; 1 is dense.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// What is applied to the result.
    pub activation: Activation,
}

/// Steps of one, no padding, one group, no activation.
impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1, activation: Activation::Identity }
    }
}

/// The convolution of `x` `[batch, channels, height, width]` with the weight
/// `[out_channels, channels / groups, kernel height, kernel width]`.
///
/// # Errors
/// If the shapes, types or devices do not fit; on another device than the CPU also as [`composed`].
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: Conv2dOptions) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed(x, weight, bias, options);
    }
    Operands { x, weight, bias }.apply(Conv2dOp { options })
}

/// [`conv2d()`] out of candle's operators.
///
/// # Errors
/// If the shapes, types or devices do not fit, or stride or dilation differ between the axes.
pub fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: Conv2dOptions) -> Result<Tensor> {
    let Conv2dOptions { stride, padding, dilation, groups, activation } = options;
    if stride[0] != stride[1] || dilation[0] != dilation[1] {
        bail!("conv2d: stride {stride:?} or dilation {dilation:?} differs between the axes: only the CPU runs that");
    }
    let mut x = x.pad_with_zeros(2, padding[0], padding[0])?.pad_with_zeros(3, padding[1], padding[1])?;
    // What no window reaches is cut off: candle's gradient of the input knows one remainder for both axes.
    for dim in [2, 3] {
        let window = Window { stride: stride[0], dilation: dilation[0], ..Window::new(weight.dim(dim)?) };
        if let Some(outputs) = window.output(x.dim(dim)?) {
            x = x.narrow(dim, 0, (outputs - 1) * window.stride + (window.kernel - 1) * window.dilation + 1)?;
        }
    }
    let y = x.conv2d(weight, 0, stride[0], dilation[0], groups)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?,
        None => y,
    };
    match activation {
        Activation::Identity => Ok(y),
        Activation::Relu => super::relu(&y),
    }
}

#[derive(Debug)]
struct Conv2dOp {
    options: Conv2dOptions,
}

impl Conv2dOp {
    fn shape(&self, x: &Shape, weight: &Shape) -> Result<(Conv2d, Shape)> {
        let (batch, in_channels, height, width) = x.dims4()?;
        let (out_channels, group_channels, kernel_height, kernel_width) = weight.dims4()?;
        let Conv2dOptions { stride, padding, dilation, groups, .. } = self.options;
        let window = |axis: usize, kernel| Window {
            kernel,
            stride: stride[axis],
            padding: padding[axis],
            dilation: dilation[axis],
        };
        let window = [window(0, kernel_height), window(1, kernel_width)];
        let shape = Conv2d { batch, in_channels, out_channels, input: [height, width], window, groups };
        match shape.output() {
            Some([height, width]) if group_channels * groups == in_channels => {
                Ok((shape, Shape::from((batch, out_channels, height, width))))
            }
            _ => bail!("conv2d: input {x:?} and weight {weight:?} do not fit with {:?}", self.options),
        }
    }
}

impl Parametrised for Conv2dOp {
    fn title(&self) -> &'static str {
        "conv2d"
    }

    fn forward_in<T: Element>(
        &self,
        x: Input<'_>,
        weight: Input<'_>,
        bias: Option<Input<'_>>,
    ) -> Result<(CpuStorage, Shape)> {
        let (shape, y_shape) = self.shape(x.1.shape(), weight.1.shape())?;
        if let Some((_, layout)) = bias
            && layout.dims() != [shape.out_channels]
        {
            bail!("conv2d: the bias has shape {:?}, the layer {} channels", layout.shape(), shape.out_channels);
        }
        let bias = bias.map(|(storage, layout)| read::<T>(storage, layout)).transpose()?;
        let mut y = vec![T::ZERO; y_shape.elem_count()];
        let (x, weight) = (read(x.0, x.1)?, read(weight.0, weight.1)?);
        let activation = self.options.activation;
        conv2d::forward(shape, activation, x, weight, bias, &mut y, &mut Workspace::new());
        Ok((T::to_cpu_storage_owned(y), y_shape))
    }

    fn backward_in<T: Element>(&self, operands: Operands<'_>, y: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let (shape, _) = self.shape(operands.x.shape(), operands.weight.shape())?;
        let dy = before::<T>(self.options.activation, y, dy)?;
        operands.gradients::<T>(&dy, |[x, weight, dy], gradients| {
            conv2d::backward(shape, x, weight, dy, gradients, &mut Workspace::new());
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::testing::{check_gradients, is_tested, on_cpu, same, tensor};

    fn cases() -> Vec<(Conv2dOptions, [Tensor; 3])> {
        let inputs = |x: [usize; 4], w: [usize; 4]| [tensor(1, &x), tensor(2, &w), tensor(3, &w[..1])];
        let relu = Conv2dOptions { activation: Activation::Relu, ..Conv2dOptions::default() };
        vec![
            (Conv2dOptions::default(), inputs([2, 2, 5, 6], [3, 2, 3, 2])),
            (Conv2dOptions { padding: [2; 2], ..relu }, inputs([1, 1, 6, 6], [4, 1, 5, 5])),
            (Conv2dOptions { stride: [2; 2], padding: [1, 0], ..relu }, inputs([2, 2, 7, 6], [3, 2, 3, 3])),
            (Conv2dOptions { dilation: [2; 2], groups: 2, ..relu }, inputs([2, 4, 6, 7], [6, 2, 2, 3])),
            (Conv2dOptions { stride: [3; 2], padding: [0, 2], groups: 2, ..relu }, inputs([1, 2, 5, 9], [4, 1, 3, 2])),
            (Conv2dOptions { stride: [2; 2], dilation: [3; 2], ..relu }, inputs([1, 1, 9, 8], [2, 1, 2, 3])),
            (Conv2dOptions { stride: [3; 2], ..relu }, inputs([1, 2, 5, 7], [2, 2, 1, 2])),
        ]
    }

    #[test]
    fn equals_candles_composition() {
        for (options, [x, w, b]) in cases() {
            let [y, without] = [Some(&b), None].map(|bias| conv2d(&x, &w, bias, options).unwrap());
            let [x, w, b] = [x, w, b].map(|input| on_cpu(&input));
            same(&y, &composed(&x, &w, Some(&b), options).unwrap());
            same(&without, &composed(&x, &w, None, options).unwrap());
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for (options, inputs) in cases() {
            for run in [conv2d, composed] {
                check_gradients(&inputs, |[x, w, b]| run(x, w, Some(b), options));
                let [x, w, _] = &inputs;
                check_gradients(&[x.clone(), w.clone()], |[x, w]| run(x, w, None, options));
            }
        }
    }

    #[test]
    fn empty_batch_has_a_gradient() {
        for (options, [x, w, b]) in cases().into_iter().filter(|_| is_tested(&[0])) {
            let inputs = [x.narrow(0, 0, 0).unwrap(), w, b];
            check_gradients(&inputs, |[x, w, b]| conv2d(x, w, Some(b), options));
        }
    }

    /// What no run file asks for, and only the kernels compute.
    #[test]
    fn axes_may_differ_and_inputs_be_permuted() {
        let tensor = |seed, dims: &[usize]| on_cpu(&tensor(seed, dims));
        let options = Conv2dOptions { stride: [1, 2], dilation: [2, 1], padding: [1, 0], ..Conv2dOptions::default() };
        let inputs = [tensor(1, &[2, 5, 6, 3]), tensor(2, &[3, 2, 2, 4]), tensor(3, &[4])];
        // Channels last to channels first, and a weight stored the other way round.
        check_gradients(&inputs, |[x, w, b]| {
            let (x, w) = (x.permute((0, 3, 1, 2))?, w.permute((3, 0, 1, 2))?);
            let y = conv2d(&x, &w, Some(b), options)?;
            same(&y, &conv2d(&x.contiguous()?, &w.contiguous()?, Some(b), options)?);
            Ok(y)
        });
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let options = Conv2dOptions::default();
        let tensor = |seed, dims: &[usize]| on_cpu(&tensor(seed, dims));
        let (x, w) = (tensor(1, &[1, 2, 4, 4]), tensor(2, &[3, 2, 3, 3]));
        assert!(conv2d(&x, &tensor(2, &[3, 1, 3, 3]), None, options).is_err());
        assert!(conv2d(&x, &tensor(2, &[3, 2, 5, 3]), None, options).is_err());
        assert!(conv2d(&x, &w, Some(&tensor(3, &[2])), options).is_err());
        assert!(conv2d(&x, &w, None, Conv2dOptions { groups: 2, ..options }).is_err());
        assert!(conv2d(&x, &w, None, Conv2dOptions { stride: [0, 1], ..options }).is_err());
    }
}
