//! The few numbers of a metric that events and tables show.

use serde::{Deserialize, Serialize};

use super::{Classification, Regression};

/// Part of a round's event; a number that does not exist for the kind of model is left out, one that is not finite is null.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean loss of an example; none if there is no example or a client's loss was beyond all range.
    pub loss: Option<f64>,
    /// Share of examples whose class was predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean F1 of a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<f64>,
    /// Root of the mean squared error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// Mean absolute error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// Share of the targets' variance that is explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// Number of examples.
    pub n: u64,
}

impl Summary {
    pub(super) fn of_classification(counts: &Classification) -> Self {
        let scores = counts.scores();
        Self {
            loss: finite(counts.loss()),
            accuracy: Some(scores.accuracy),
            macro_f1: Some(scores.macro_f1),
            rmse: None,
            mae: None,
            r2: None,
            n: counts.n(),
        }
    }

    pub(super) fn of_regression(sums: &Regression) -> Self {
        Self {
            loss: finite(sums.mse()),
            accuracy: None,
            macro_f1: None,
            rmse: finite(sums.rmse()),
            mae: finite(sums.mae()),
            r2: finite(sums.r2()),
            n: sums.n(),
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_the_documented_object() {
        let mut counts = Classification::new(2).unwrap();
        counts.count(0, 0).unwrap();
        counts.count(1, 0).unwrap();
        counts.set_loss(3.0);
        let text = serde_json::to_string(&Summary::of_classification(&counts)).unwrap();
        assert_eq!(text, r#"{"loss":1.5,"accuracy":0.5,"macro_f1":0.3333333333333333,"n":2}"#);
        counts.set_loss(f64::NAN);
        let text = serde_json::to_string(&Summary::of_classification(&counts)).unwrap();
        assert!(text.starts_with(r#"{"loss":null,"#), "{text}");
        let text = serde_json::to_string(&Summary::of_regression(&Regression::of([(1.0, 1.5), (0.0, 0.5)]))).unwrap();
        assert_eq!(text, r#"{"loss":0.25,"rmse":0.5,"mae":0.5,"r2":0.0,"n":2}"#);
    }
}
