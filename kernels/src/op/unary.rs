//! Operators of one tensor: what candle asks of them, written once.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::values::{Element, unsupported};

/// An operator in one of the types that the kernels compute in.
pub(super) trait Unary: Send + Sync {
    /// What it is called in errors.
    const NAME: &'static str;

    fn forward_in<T: Element>(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)>;

    /// The gradient of `x`, given that of the output.
    fn backward_in<T: Element>(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor>;
}

/// Applies `op` to `x` on the CPU.
pub(super) fn apply(op: impl Unary + 'static, x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(OnCpu(op))
}

struct OnCpu<O>(O);

impl<O: Unary> CustomOp1 for OnCpu<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match storage {
            CpuStorage::F32(_) => self.0.forward_in::<f32>(storage, layout),
            CpuStorage::F64(_) => self.0.forward_in::<f64>(storage, layout),
            _ => Err(unsupported(storage.dtype(), O::NAME)),
        }
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        match x.dtype() {
            DType::F32 => self.0.backward_in::<f32>(x, dy).map(Some),
            DType::F64 => self.0.backward_in::<f64>(x, dy).map(Some),
            other => Err(unsupported(other, O::NAME)),
        }
    }
}
