//! Softmax and cross-entropy.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use super::values::{Element, compute, read, unsupported};
use crate::cross_entropy;
use crate::real::Real;

const NAME: &str = "cross_entropy";

/// The mean over the batch of `−log softmax(logits)[label]`, as a scalar; zero for an empty batch.
/// `logits` is `[batch, classes]`, `labels` `[batch]` of u32.
///
/// # Errors
/// If the shapes or types do not fit or a label is not below the number of classes.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    if logits.device().is_cpu() {
        logits.contiguous()?.apply_op2(&labels.contiguous()?, CrossEntropyOp)
    } else {
        composed(logits, labels)
    }
}

/// [`cross_entropy()`] out of candle's operators, of a batch that is not empty. The maximum only moves the exponents, so no
/// gradient flows through it.
///
/// # Errors
/// If the shapes, types or devices do not fit. The caller has found every label to be below the number of classes.
pub fn composed(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let largest = logits.detach().max_keepdim(1)?;
    let shifted = logits.broadcast_sub(&largest)?;
    let logarithm = shifted.exp()?.sum_keepdim(1)?.log()?;
    let chosen = shifted.gather(&labels.unsqueeze(1)?, 1)?;
    (logarithm - chosen)?.mean_all()
}

#[derive(Debug)]
struct CrossEntropyOp;

/// The batch's labels, each below the number of classes.
fn checked<'a>(logits: &Shape, storage: &'a CpuStorage, layout: &Layout) -> Result<(usize, &'a [u32])> {
    let (batch, classes) = logits.dims2()?;
    let (CpuStorage::U32(labels), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        bail!("cross_entropy: labels must be contiguous u32, they are {:?}", storage.dtype());
    };
    let labels = &labels[start..end];
    if layout.dims() != [batch] {
        bail!("cross_entropy: {batch} rows of logits, labels of shape {:?}", layout.shape());
    }
    match labels.iter().find(|&&label| label as usize >= classes) {
        Some(label) => bail!("cross_entropy: label {label} is not below {classes} classes"),
        None => Ok((classes, labels)),
    }
}

impl CrossEntropyOp {
    fn forward_in<T: Element>(
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (classes, labels) = checked(l1.shape(), s2, l2)?;
        let mean = cross_entropy::loss(classes, read::<T>(s1, l1)?, labels, None) / labels.len().max(1) as f64;
        Ok((T::to_cpu_storage_owned(vec![<T as Real>::from_f64(mean)]), Shape::from(())))
    }

    fn backward_in<T: Element>(logits: &Tensor, labels: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let labels = labels.to_vec1::<u32>()?;
        let factor = dy.to_scalar::<T>()?;
        let (_, classes) = logits.dims2()?;
        let dx = compute::<T, 1>([logits], logits.shape(), |[logits], dx| {
            let _ = cross_entropy::loss(classes, logits, &labels, Some(dx));
            dx.iter_mut().for_each(|g| *g *= factor);
        })?;
        Ok(Some(dx))
    }
}

impl CustomOp2 for CrossEntropyOp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        match s1 {
            CpuStorage::F32(_) => Self::forward_in::<f32>(s1, l1, s2, l2),
            CpuStorage::F64(_) => Self::forward_in::<f64>(s1, l1, s2, l2),
            _ => Err(unsupported(s1.dtype(), NAME)),
        }
    }

    fn bwd(
        &self,
        logits: &Tensor,
        labels: &Tensor,
        _loss: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = match logits.dtype() {
            DType::F32 => Self::backward_in::<f32>(logits, labels, dy)?,
            DType::F64 => Self::backward_in::<f64>(logits, labels, dy)?,
            other => return Err(unsupported(other, NAME)),
        };
        Ok((dx, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::testing::{check_gradients, list, on_cpu, same, tensor, tensor_of};

    fn labels(list: &[u32]) -> Tensor {
        tensor_of(list, &[list.len()])
    }

    #[test]
    fn equals_candles_composition() {
        let (logits, labels) = (tensor(1, &[4, 5]), labels(&[0, 4, 2, 2]));
        let loss = cross_entropy(&logits, &labels).unwrap();
        same(&loss, &composed(&on_cpu(&logits), &on_cpu(&labels)).unwrap());
    }

    #[test]
    fn gradients_agree_with_differences_also_through_a_scaled_loss() {
        let labels = labels(&[0, 4, 2, 2]);
        check_gradients(&[tensor(1, &[4, 5])], |[z]| cross_entropy(z, &labels));
        check_gradients(&[tensor(1, &[5, 4])], |[z]| cross_entropy(&z.t()?, &labels)? * 3.0);
        check_gradients(&[tensor(1, &[4, 5])], |[z]| composed(z, &labels));
    }

    #[test]
    fn empty_batch_has_no_loss() {
        let [logits, labels] = [tensor(1, &[0, 5]), labels(&[])].map(|input| on_cpu(&input));
        assert_eq!(list(&cross_entropy(&logits, &labels).unwrap()), [0.0]);
        check_gradients(&[logits], |[logits]| cross_entropy(logits, &labels));
    }

    #[test]
    fn labels_that_do_not_fit_are_errors() {
        let (tensor, labels) =
            (|seed, dims: &[usize]| on_cpu(&tensor(seed, dims)), |list: &[u32]| on_cpu(&labels(list)));
        let logits = tensor(1, &[2, 3]);
        assert!(cross_entropy(&logits, &labels(&[0, 3])).is_err());
        assert!(cross_entropy(&logits, &labels(&[0])).is_err());
        assert!(cross_entropy(&logits, &labels(&[0, 1]).to_dtype(DType::I64).unwrap()).is_err());
        assert!(cross_entropy(&tensor(1, &[6]), &labels(&[0, 1])).is_err());
    }
}
