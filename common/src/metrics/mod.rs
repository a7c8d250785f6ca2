//! Metrics as sums that merge: what is reported over many clients is computed from summed counts, never an average of
//! averages.
//!
//! Counts are integers; real numerators are rounded once for each client to fixed point ([`Total`]). So a merged metric does
//! not depend on the order or the grouping of clients, and equals what one client with all the examples would report up to
//! that rounding.
//!
//! Deliberately not here: how predictions are made (client), and when metrics are asked for (the round machine).

mod classification;
mod regression;
mod scores;
mod summary;
mod total;

use serde::{Deserialize, Serialize};

pub use classification::{CLASSES_MAX, Classification, MATRIX_CLASSES_MAX};
pub use regression::Regression;
pub use scores::{ClassScore, Scores};
pub use summary::Summary;
pub use total::Total;

/// The most examples of a merged metric, 2^52: counts stay exact in a double.
pub const EXAMPLES_MAX: u64 = 1 << 52;

/// Metrics that do not fit together, or that no measurement could have yielded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model has no class, or more than the limit.
    #[error("could not count classes: {0} is not from 1 to {CLASSES_MAX}")]
    ClassesOutside(u32),
    /// An example's class is none of the model's.
    #[error("could not count example: class {class} is not below {classes}")]
    ClassUnknown {
        /// The class that came.
        class: u32,
        /// The number of classes.
        classes: u32,
    },
    /// Counts contradict each other.
    #[error("could not read metrics: {0}")]
    Contradiction(&'static str),
    /// One is of classes, one of numbers, or the numbers of classes differ.
    #[error("could not merge metrics: {0} differs from {1}")]
    KindDiffers(String, String),
    /// All together are more than can be counted.
    #[error("could not merge metrics: more than {EXAMPLES_MAX} examples, or a total beyond its range")]
    TooMany,
}

/// What was measured of a model on some examples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metrics {
    /// Of a model that tells classes apart.
    Classification(Classification),
    /// Of a model that predicts one number.
    Regression(Regression),
}

impl Metrics {
    /// Adds what was measured on other examples.
    ///
    /// # Errors
    /// Metrics of another kind or number of classes, or more than can be counted; nothing has changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        match (self, other) {
            (Self::Classification(mine), Self::Classification(more)) => mine.merge(more),
            (Self::Regression(mine), Self::Regression(more)) => mine.merge(more),
            (mine @ Self::Classification(_), Self::Regression(_))
            | (mine @ Self::Regression(_), Self::Classification(_)) => {
                Err(Error::KindDiffers(mine.kind(), other.kind()))
            }
        }
    }

    fn kind(&self) -> String {
        match self {
            Self::Classification(counts) => format!("classification of {} classes", counts.classes()),
            Self::Regression(_) => "regression".to_owned(),
        }
    }

    /// The number of examples.
    #[must_use]
    pub fn n(&self) -> u64 {
        match self {
            Self::Classification(counts) => counts.n(),
            Self::Regression(sums) => sums.n(),
        }
    }

    /// The mean loss of an example; NaN if there is none, or if a client's loss was beyond all range.
    #[must_use]
    pub fn loss(&self) -> f64 {
        match self {
            Self::Classification(counts) => counts.loss(),
            Self::Regression(sums) => sums.mse(),
        }
    }

    /// The share of examples whose class was predicted; none for regression.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        match self {
            Self::Classification(counts) => Some(counts.scores().accuracy),
            Self::Regression(_) => None,
        }
    }

    /// The numbers that events and tables show.
    #[must_use]
    pub fn summary(&self) -> Summary {
        match self {
            Self::Classification(counts) => Summary::of_classification(counts),
            Self::Regression(sums) => Summary::of_regression(sums),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_different_kinds_do_not_merge() {
        let mut classes = Metrics::Classification(Classification::new(3).unwrap());
        let before = classes.clone();
        let numbers = Metrics::Regression(Regression::default());
        let error = classes.merge(&numbers).unwrap_err().to_string();
        assert_eq!(error, "could not merge metrics: classification of 3 classes differs from regression");
        let more = Metrics::Classification(Classification::new(4).unwrap());
        assert!(classes.merge(&more).is_err());
        assert_eq!(classes, before);
    }
}
