//! The fully connected layer.

use candle_core::{CpuStorage, Result, Shape, Tensor, bail};

use super::parametrised::{Input, Operands, Parametrised};
use super::values::{Element, before, read};
use crate::linear::{self, Linear};
use crate::relu::Activation;

/// `activation(x · Wᵀ + b)` over the last dimension of `x`, with the weight as `[outputs, inputs]`.
///
/// # Errors
/// If the shapes, types or devices do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed(x, weight, bias, activation);
    }
    Operands { x, weight, bias }.apply(LinearOp { activation })
}

/// [`linear()`] out of candle's operators.
///
/// # Errors
/// If the shapes, types or devices do not fit.
pub fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let mut dims = x.dims().to_vec();
    let y = x.reshape(((), inputs))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    if let Some(last) = dims.last_mut() {
        *last = outputs;
    }
    let y = y.reshape(dims)?;
    match activation {
        Activation::Identity => Ok(y),
        Activation::Relu => super::relu(&y),
    }
}

#[derive(Debug)]
struct LinearOp {
    activation: Activation,
}

impl LinearOp {
    fn shape(x: &Shape, weight: &Shape) -> Result<(Linear, Shape)> {
        let (outputs, inputs) = weight.dims2()?;
        let mut dims = x.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == inputs => *last = outputs,
            _ => bail!("linear: the input's shape {x:?} does not end in the weight's {inputs} inputs"),
        }
        let batch = x.dims()[..x.rank() - 1].iter().product();
        Ok((Linear { batch, inputs, outputs }, Shape::from(dims)))
    }
}

impl Parametrised for LinearOp {
    fn title(&self) -> &'static str {
        "linear"
    }

    fn forward_in<T: Element>(
        &self,
        x: Input<'_>,
        weight: Input<'_>,
        bias: Option<Input<'_>>,
    ) -> Result<(CpuStorage, Shape)> {
        let (shape, y_shape) = Self::shape(x.1.shape(), weight.1.shape())?;
        if let Some((_, layout)) = bias
            && layout.dims() != [shape.outputs]
        {
            bail!("linear: the bias has shape {:?}, the layer {} outputs", layout.shape(), shape.outputs);
        }
        let bias = bias.map(|(storage, layout)| read::<T>(storage, layout)).transpose()?;
        let mut y = vec![T::ZERO; y_shape.elem_count()];
        let (x, weight) = (read(x.0, x.1)?, read(weight.0, weight.1)?);
        linear::forward(shape, self.activation, x, weight, bias, &mut y);
        Ok((T::to_cpu_storage_owned(y), y_shape))
    }

    fn backward_in<T: Element>(&self, operands: Operands<'_>, y: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let (shape, _) = Self::shape(operands.x.shape(), operands.weight.shape())?;
        let dy = before::<T>(self.activation, y, dy)?;
        operands.gradients::<T>(&dy, |[x, weight, dy], gradients| linear::backward(shape, x, weight, dy, gradients))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::op::testing::{check_gradients, is_tested, on_cpu, same, tensor};

    /// Of the input.
    const DIMS: [&[usize]; 4] = [&[4, 5], &[5], &[2, 3, 5], &[0, 5]];

    #[test]
    fn equals_candles_composition() {
        for activation in [Activation::Identity, Activation::Relu] {
            for dims in DIMS.into_iter().filter(|dims| is_tested(dims)) {
                let (x, w, b) = (tensor(1, dims), tensor(2, &[3, 5]), tensor(3, &[3]));
                let [y, without] = [Some(&b), None].map(|bias| linear(&x, &w, bias, activation).unwrap());
                let [x, w, b] = [x, w, b].map(|input| on_cpu(&input));
                same(&y, &composed(&x, &w, Some(&b), activation).unwrap());
                same(&without, &composed(&x, &w, None, activation).unwrap());
            }
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for activation in [Activation::Identity, Activation::Relu] {
            for dims in DIMS.into_iter().filter(|dims| is_tested(dims)) {
                let inputs = [tensor(1, dims), tensor(2, &[3, 5]), tensor(3, &[3])];
                // Of empty tensors candle's own operators know no gradient.
                let runs = if dims.contains(&0) { 1 } else { 2 };
                for run in [linear, composed].into_iter().take(runs) {
                    check_gradients(&inputs, |[x, w, b]| run(x, w, Some(b), activation));
                    let [x, w, _] = &inputs;
                    check_gradients(&[x.clone(), w.clone()], |[x, w]| run(x, w, None, activation));
                }
            }
        }
    }

    #[test]
    fn transposed_and_narrowed_inputs_are_read_in_order() {
        let inputs = [tensor(1, &[5, 4]), tensor(2, &[5, 3]), tensor(3, &[9])];
        check_gradients(&inputs, |[x, w, b]| {
            let (x, w, b) = (x.t()?, w.t()?, b.narrow(0, 4, 3)?);
            let y = linear(&x, &w, Some(&b), Activation::Relu)?;
            same(&y, &composed(&on_cpu(&x.contiguous()?), &on_cpu(&w), Some(&on_cpu(&b)), Activation::Relu)?);
            Ok(y)
        });
    }

    #[test]
    fn shapes_and_types_that_do_not_fit_are_errors() {
        let tensor = |seed, dims: &[usize]| on_cpu(&tensor(seed, dims));
        let (x, w, b) = (tensor(1, &[4, 5]), tensor(2, &[3, 6]), tensor(3, &[2]));
        assert!(linear(&x, &w, None, Activation::Identity).is_err());
        assert!(linear(&x, &tensor(2, &[3, 5]), Some(&b), Activation::Identity).is_err());
        let scalar = Tensor::new(1.0_f64, &Device::Cpu).unwrap();
        assert!(linear(&scalar, &w, None, Activation::Identity).is_err());
        let integers = Tensor::zeros((4, 6), DType::U32, &Device::Cpu).unwrap();
        assert!(linear(&integers, &w, None, Activation::Identity).is_err());
        let single = tensor(1, &[4, 6]).to_dtype(DType::F32).unwrap();
        assert!(linear(&single, &w, None, Activation::Identity).is_err());
    }
}
