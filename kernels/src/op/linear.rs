//! The fully connected layer.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::values::{Element, before, compute, read, unsupported};
use crate::linear::{self, Gradients, Linear};
use crate::relu::Activation;

const NAME: &str = "linear";

/// `activation(x · Wᵀ + b)` over the last dimension of `x`, with the weight as `[outputs, inputs]`.
///
/// # Errors
/// If the shapes, types or devices do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed(x, weight, bias, activation);
    }
    let op = LinearOp { activation };
    match bias {
        Some(bias) => x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op),
        None => x.contiguous()?.apply_op2(&weight.contiguous()?, op),
    }
}

/// The same out of candle's operators.
fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
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
        Activation::Relu => y.relu(),
    }
}

#[derive(Debug)]
struct LinearOp {
    activation: Activation,
}

/// A source of the forward pass.
type Input<'a> = (&'a CpuStorage, &'a Layout);

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

    fn forward(&self, x: Input<'_>, weight: Input<'_>, bias: Option<Input<'_>>) -> Result<(CpuStorage, Shape)> {
        match x.0 {
            CpuStorage::F32(_) => self.forward_in::<f32>(x, weight, bias),
            CpuStorage::F64(_) => self.forward_in::<f64>(x, weight, bias),
            _ => Err(unsupported(x.0.dtype(), NAME)),
        }
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

    fn backward(&self, x: &Tensor, weight: &Tensor, y: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        match x.dtype() {
            DType::F32 => self.backward_in::<f32>(x, weight, y, dy),
            DType::F64 => self.backward_in::<f64>(x, weight, y, dy),
            other => Err(unsupported(other, NAME)),
        }
    }

    fn backward_in<T: Element>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let (shape, _) = Self::shape(x.shape(), weight.shape())?;
        let dy = before::<T>(self.activation, y, dy)?;
        let run = |target: fn(&mut [T]) -> Gradients<'_, T>, of: &Tensor| {
            compute::<T, 3>([x, weight, &dy], of.shape(), |[x, weight, dy], gradient| {
                linear::backward(shape, x, weight, dy, target(gradient));
            })
        };
        let dx =
            x.track_op().then(|| run(|g| Gradients { input: Some(g), weight: None, bias: None }, x)).transpose()?;
        let dw = run(|g| Gradients { input: None, weight: Some(g), bias: None }, weight)?;
        let db = compute::<T, 3>([x, weight, &dy], shape.outputs, |[x, weight, dy], gradient| {
            let gradients = Gradients { input: None, weight: None, bias: Some(gradient) };
            linear::backward(shape, x, weight, dy, gradients);
        })?;
        Ok([dx, Some(dw), Some(db)])
    }
}

impl CustomOp2 for LinearOp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), (s2, l2), None)
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.backward(x, weight, y, dy)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for LinearOp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), (s2, l2), Some((s3, l3)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.backward(x, weight, y, dy)?;
        Ok((dx, dw, db))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::op::testing::{check_gradients, same, tensor};

    #[test]
    fn equals_candles_composition_forward_and_backward() {
        for activation in [Activation::Identity, Activation::Relu] {
            for dims in [&[4, 5][..], &[5], &[2, 3, 5], &[0, 5]] {
                let (x, w, b) = (tensor(1, dims), tensor(2, &[3, 5]), tensor(3, &[3]));
                let y = linear(&x, &w, Some(&b), activation).unwrap();
                same(&y, &composed(&x, &w, Some(&b), activation).unwrap());
                let y = linear(&x, &w, None, activation).unwrap();
                same(&y, &composed(&x, &w, None, activation).unwrap());
            }
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for activation in [Activation::Identity, Activation::Relu] {
            let inputs = [tensor(1, &[4, 5]), tensor(2, &[3, 5]), tensor(3, &[3])];
            check_gradients(&inputs, |[x, w, b]| linear(x, w, Some(b), activation));
            check_gradients(&[tensor(1, &[4, 5]), tensor(2, &[3, 5])], |[x, w]| linear(x, w, None, activation));
        }
    }

    #[test]
    fn transposed_and_narrowed_inputs_are_read_in_order() {
        let inputs = [tensor(1, &[5, 4]), tensor(2, &[5, 3]), tensor(3, &[9])];
        check_gradients(&inputs, |[x, w, b]| {
            let (x, w, b) = (x.t()?, w.t()?, b.narrow(0, 4, 3)?);
            let y = linear(&x, &w, Some(&b), Activation::Relu)?;
            same(&y, &composed(&x.contiguous()?, &w, Some(&b), Activation::Relu)?);
            Ok(y)
        });
    }

    #[test]
    fn shapes_and_types_that_do_not_fit_are_errors() {
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
