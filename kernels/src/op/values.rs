//! Between candle's tensors and the kernels' slices.

use candle_core::{CpuStorage, DType, Device, Error, Layout, Result, Shape, Storage, Tensor, WithDType, bail};

use crate::real::Real;
use crate::relu::{self, Activation};

/// What the kernels compute in and candle stores.
pub(super) trait Element: Real + WithDType {}

impl Element for f32 {}
impl Element for f64 {}

/// The error for a type that no kernel computes in.
pub(super) fn unsupported(dtype: DType, op: &'static str) -> Error {
    Error::UnsupportedDTypeForOp(dtype, op).bt()
}

/// The values in row-major order. The public functions make their inputs contiguous, which costs nothing where they
/// are, and keeps the copy differentiable where they are not.
pub(super) fn read<'a, T: Element>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&T::cpu_storage_as_slice(storage)?[start..end]),
        None => bail!("an input is not contiguous"),
    }
}

/// A new CPU tensor that `kernel` fills, given the values of `inputs` and zeros.
pub(super) fn compute<T: Element, const N: usize>(
    inputs: [&Tensor; N],
    shape: impl Into<Shape>,
    kernel: impl FnOnce([&[T]; N], &mut [T]),
) -> Result<Tensor> {
    let shape = shape.into();
    let mut result = vec![T::ZERO; shape.elem_count()];
    with_values(inputs, |inputs| kernel(inputs, &mut result))?;
    Tensor::from_vec(result, shape, &Device::Cpu)
}

/// Calls `kernel` with the values of CPU tensors.
pub(super) fn with_values<T: Element, const N: usize>(
    inputs: [&Tensor; N],
    kernel: impl FnOnce([&[T]; N]),
) -> Result<()> {
    let mut inputs = inputs.map(Tensor::clone);
    for input in &mut inputs {
        *input = input.contiguous()?;
    }
    let guards = inputs.each_ref().map(Tensor::storage_and_layout);
    let mut values = Vec::with_capacity(N);
    for (storage, layout) in &guards {
        let Storage::Cpu(storage) = &**storage else { bail!("a gradient is not on the CPU") };
        values.push(read::<T>(storage, layout)?);
    }
    kernel(std::array::from_fn(|i| values[i]));
    Ok(())
}

/// The gradient before the activation, given that of its output `y`.
pub(super) fn before<T: Element>(activation: Activation, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(dy.clone()),
        Activation::Relu => compute::<T, 2>([y, dy], y.shape(), |[y, dy], result| {
            result.copy_from_slice(dy);
            relu::backward(y, result);
        }),
    }
}
