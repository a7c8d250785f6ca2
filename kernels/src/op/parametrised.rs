//! Operators of an input, a weight and perhaps a bias: what candle asks of them, written once.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor};

use super::values::{Element, unsupported, with_values};
use crate::gradients::Gradients;

/// A source of the forward pass.
pub(super) type Input<'a> = (&'a CpuStorage, &'a Layout);

/// An operator in one of the types that the kernels compute in.
pub(super) trait Parametrised: Send + Sync {
    /// What it is called in errors.
    fn title(&self) -> &'static str;

    fn forward_in<T: Element>(
        &self,
        x: Input<'_>,
        weight: Input<'_>,
        bias: Option<Input<'_>>,
    ) -> Result<(CpuStorage, Shape)>;

    /// The gradients of input, weight and bias, given the output and its gradient.
    fn backward_in<T: Element>(&self, operands: Operands<'_>, y: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 3]>;
}

/// What an operator was applied to.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) x: &'a Tensor,
    pub(super) weight: &'a Tensor,
    pub(super) bias: Option<&'a Tensor>,
}

impl Operands<'_> {
    /// Applies `op` on the CPU.
    pub(super) fn apply(self, op: impl Parametrised + 'static) -> Result<Tensor> {
        let (x, weight) = (self.x.contiguous()?, self.weight.contiguous()?);
        match self.bias {
            Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, OnCpu(op)),
            None => x.apply_op2(&weight, OnCpu(op)),
        }
    }

    /// The gradients that `kernel` computes of the slices of input, weight and `dy`. An input that was not computed by
    /// anything that learns needs none.
    pub(super) fn gradients<T: Element>(
        self,
        dy: &Tensor,
        kernel: impl FnOnce([&[T]; 3], Gradients<'_, T>),
    ) -> Result<[Option<Tensor>; 3]> {
        let of = [Some(self.x).filter(|x| x.track_op()), Some(self.weight), self.bias];
        let mut values = of.map(|of| of.map(|of| vec![T::ZERO; of.elem_count()]));
        let [input, weight, bias] = values.each_mut().map(Option::as_deref_mut);
        with_values([self.x, self.weight, dy], |slices| kernel(slices, Gradients { input, weight, bias }))?;
        let [dx, dw, db] = std::array::from_fn(|i| {
            let (values, of) = (values[i].take()?, of[i]?);
            Some(Tensor::from_vec(values, of.shape(), &Device::Cpu))
        });
        Ok([dx.transpose()?, dw.transpose()?, db.transpose()?])
    }
}

struct OnCpu<O>(O);

impl<O: Parametrised> OnCpu<O> {
    fn forward(&self, x: Input<'_>, weight: Input<'_>, bias: Option<Input<'_>>) -> Result<(CpuStorage, Shape)> {
        match x.0 {
            CpuStorage::F32(_) => self.0.forward_in::<f32>(x, weight, bias),
            CpuStorage::F64(_) => self.0.forward_in::<f64>(x, weight, bias),
            _ => Err(unsupported(x.0.dtype(), self.0.title())),
        }
    }

    fn backward(&self, operands: Operands<'_>, y: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        match operands.x.dtype() {
            DType::F32 => self.0.backward_in::<f32>(operands, y, dy),
            DType::F64 => self.0.backward_in::<f64>(operands, y, dy),
            other => Err(unsupported(other, self.0.title())),
        }
    }
}

impl<O: Parametrised> CustomOp2 for OnCpu<O> {
    fn name(&self) -> &'static str {
        self.0.title()
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), (s2, l2), None)
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.backward(Operands { x, weight, bias: None }, y, dy)?;
        Ok((dx, dw))
    }
}

impl<O: Parametrised> CustomOp3 for OnCpu<O> {
    fn name(&self) -> &'static str {
        self.0.title()
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
        bias: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.backward(Operands { x, weight, bias: Some(bias) }, y, dy)?;
        Ok((dx, dw, db))
    }
}
