//! Losses: what local training minimises, always the mean over a batch. One file and one row each.

mod cross_entropy;
mod mse;

use tributary_common::config::Row;
use tributary_common::model::Input;
use tributary_kernels::real::Real;

use crate::data::{Dataset, Labels};

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The negative logarithm of the probability given to the true class.
    CrossEntropy,
    /// The squared difference to the target.
    Mse,
}

/// Every loss, by name.
pub const ROWS: &[Row<Loss>] = &[cross_entropy::ROW, mse::ROW];

impl Loss {
    /// Whether it suits what is to be predicted; else the problem and what to do.
    pub(crate) fn check(self, input: &Input) -> Result<(), (&'static str, &'static str)> {
        match (self, &input.classes) {
            (Self::CrossEntropy, Some(_)) | (Self::Mse, None) => Ok(()),
            (Self::CrossEntropy, None) => Err((
                "loss `cross_entropy` needs classes, the run predicts a number",
                "set `input.classes`, or write loss = \"mse\"",
            )),
            (Self::Mse, Some(_)) => Err((
                "loss `mse` is of numbers, the run predicts classes",
                "write loss = \"cross_entropy\", or remove `input.classes`",
            )),
        }
    }

    /// The sum of the loss over a batch; the gradient, if asked for, is that of its mean.
    pub(crate) fn score<T: Real>(
        self,
        outputs: usize,
        predicted: &[T],
        truth: &Truth<T>,
        gradient: Option<&mut [T]>,
    ) -> f64 {
        match self {
            Self::CrossEntropy => cross_entropy::score(outputs, predicted, &truth.classes, gradient),
            Self::Mse => mse::score(outputs, predicted, &truth.targets, gradient),
        }
    }
}

#[cfg(feature = "candle")]
impl Loss {
    /// The mean over a batch as a differentiable tensor.
    pub(crate) fn graph<T: candle_core::WithDType>(
        self,
        predicted: &candle_core::Tensor,
        truth: &Truth<T>,
    ) -> candle_core::Result<candle_core::Tensor> {
        match self {
            Self::CrossEntropy => cross_entropy::graph(predicted, &truth.classes),
            Self::Mse => mse::graph(predicted, &truth.targets),
        }
    }
}

#[cfg(feature = "candle")]
impl Loss {
    /// The gradient of each model's mean loss with respect to its predictions `[models, batch, outputs]`. A model's examples
    /// are the first of its batch; rows behind them have none.
    pub(crate) fn slope<T: Real + candle_core::WithDType>(
        self,
        predicted: &candle_core::Tensor,
        truths: &[Truth<T>],
    ) -> candle_core::Result<candle_core::Tensor> {
        let (models, batch, outputs) = predicted.dims3()?;
        let (mut shares, mut targets) = (vec![T::ZERO; models * batch], vec![T::ZERO; models * batch * outputs]);
        for (model, truth) in truths.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "a batch has at most 2^32 examples")]
            let share = <T as Real>::from_f64(1.0 / truth.count() as f64);
            shares[model * batch..][..truth.count()].fill(share);
            let targets = &mut targets[model * batch * outputs..];
            for (row, &class) in truth.classes.iter().enumerate() {
                targets[row * outputs + class as usize] = share;
            }
            targets[..truth.targets.len()].copy_from_slice(&truth.targets);
        }
        let tensor = |values, last| candle_core::Tensor::from_vec(values, (models, batch, last), predicted.device());
        let (shares, targets) = (tensor(shares, 1)?, tensor(targets, outputs)?);
        match self {
            Self::CrossEntropy => cross_entropy::slope(predicted, &targets, &shares),
            Self::Mse => mse::slope(predicted, &targets, &shares),
        }
    }
}

/// What is to be predicted of the examples of a batch; one of both is empty. Private, hence without `Debug`.
pub(crate) struct Truth<T> {
    pub(crate) classes: Vec<u32>,
    pub(crate) targets: Vec<T>,
}

impl<T> Truth<T> {
    /// Of no example.
    pub(crate) const fn none() -> Self {
        Self { classes: Vec::new(), targets: Vec::new() }
    }
}

impl<T: Real> Truth<T> {
    /// Of how many examples.
    #[cfg(feature = "candle")]
    pub(crate) const fn count(&self) -> usize {
        self.classes.len() + self.targets.len()
    }

    /// Takes these examples; keeps its memory.
    pub(crate) fn gather(&mut self, dataset: &Dataset, indices: &[u32]) {
        self.classes.clear();
        self.targets.clear();
        let indices = indices.iter().map(|&index| index as usize);
        match dataset.labels() {
            Labels::Classes(labels) => self.classes.extend(indices.map(|index| labels[index])),
            Labels::Targets(targets) => self.targets.extend(indices.map(|index| T::from_f64(targets[index]))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(ROWS.is_sorted_by(|a, b| a.name < b.name));
    }
}
