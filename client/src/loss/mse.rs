//! `mse`: the mean squared error of one predicted number, as in `torch.nn.MSELoss`.

#[cfg(feature = "candle")]
use candle_core::{Result, Tensor, WithDType};
use tributary_common::config::Row;
use tributary_kernels::mse;
use tributary_kernels::real::Real;

use super::Loss;

pub(super) const ROW: Row<Loss> =
    Row { name: "mse", help: "mean squared error, for regression", parse: |_| Ok(Loss::Mse) };

pub(super) fn score<T: Real>(outputs: usize, predicted: &[T], targets: &[T], gradient: Option<&mut [T]>) -> f64 {
    mse::loss(outputs, predicted, targets, gradient)
}

#[cfg(feature = "candle")]
pub(super) fn graph<T: WithDType>(predicted: &Tensor, targets: &[T]) -> Result<Tensor> {
    (predicted.flatten_all()? - Tensor::new(targets, predicted.device())?)?.sqr()?.mean_all()
}

/// 2 · (predicted − targets) · share, for `[models, batch, 1]`.
#[cfg(feature = "candle")]
pub(super) fn slope(predicted: &Tensor, targets: &Tensor, shares: &Tensor) -> Result<Tensor> {
    (predicted - targets)? * (shares * 2.0)?
}
