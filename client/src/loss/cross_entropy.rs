//! `cross_entropy`: softmax and negative log-likelihood over classes, as in `torch.nn.CrossEntropyLoss`.

#[cfg(feature = "candle")]
use candle_core::{D, Result, Tensor};
use tributary_common::config::Row;
use tributary_kernels::cross_entropy;
use tributary_kernels::real::Real;

use super::Loss;

pub(super) const ROW: Row<Loss> =
    Row { name: "cross_entropy", help: "negative log-likelihood of the true class", parse: |_| Ok(Loss::CrossEntropy) };

pub(super) fn score<T: Real>(classes: usize, logits: &[T], labels: &[u32], gradient: Option<&mut [T]>) -> f64 {
    cross_entropy::loss(classes, logits, labels, gradient)
}

#[cfg(feature = "candle")]
pub(super) fn graph(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    tributary_kernels::op::composed::cross_entropy(logits, &Tensor::new(labels, logits.device())?)
}

/// softmax(logits) · share − hot, for `[models, batch, classes]`: `hot` holds the share of an example at its class, zeros
/// elsewhere.
#[cfg(feature = "candle")]
pub(super) fn slope(logits: &Tensor, hot: &Tensor, shares: &Tensor) -> Result<Tensor> {
    let powers = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?.exp()?;
    powers.broadcast_mul(&(shares / powers.sum_keepdim(D::Minus1)?)?)? - hot
}
