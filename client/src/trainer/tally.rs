//! Metrics as they are collected batch by batch.

use tributary_common::metrics::{Classification, Error, Metrics, Regression};
use tributary_common::model::{Classes, Input};

use crate::layer::Element;
use crate::loss::Truth;

/// What was counted so far.
#[derive(Debug)]
pub(super) enum Tally {
    Classes { counts: Classification, loss: f64 },
    Numbers(Regression),
}

impl Tally {
    /// # Errors
    /// More classes than can be counted.
    pub(super) fn new(input: &Input) -> Result<Self, Error> {
        let Some(classes) = input.classes.as_ref().map(Classes::count) else {
            return Ok(Self::Numbers(Regression::default()));
        };
        let classes = u32::try_from(classes).unwrap_or(u32::MAX);
        Ok(Self::Classes { counts: Classification::new(classes)?, loss: 0.0 })
    }

    /// Adds a batch: its predictions, what is true, and the sum of its losses.
    pub(super) fn add<T: Element>(&mut self, predicted: &[T], truth: &Truth<T>, batch_loss: f64) -> Result<(), Error> {
        match self {
            Self::Classes { counts, loss } => {
                *loss += batch_loss;
                let classes = counts.classes() as usize;
                for (row, &label) in predicted.chunks_exact(classes).zip(&truth.classes) {
                    counts.count(label, largest(row))?;
                }
                Ok(())
            }
            Self::Numbers(sums) => {
                let pairs = truth.targets.iter().zip(predicted).map(|(truth, y)| (truth.to_f64(), y.to_f64()));
                sums.merge(&Regression::of(pairs))
            }
        }
    }

    pub(super) fn into_metrics(self) -> Metrics {
        match self {
            Self::Classes { mut counts, loss } => {
                counts.set_loss(loss);
                Metrics::Classification(counts)
            }
            Self::Numbers(sums) => Metrics::Regression(sums),
        }
    }
}

/// The index of the largest logit, the first of equals.
fn largest<T: Element>(row: &[T]) -> u32 {
    let mut best = (0, row[0]);
    for (index, &logit) in (0..).zip(row) {
        if logit > best.1 {
            best = (index, logit);
        }
    }
    best.0
}
