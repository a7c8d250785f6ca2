//! Precision, recall, F1 and agreement from summed counts.
//!
//! A ratio without a denominator is 0, as scikit-learn has it: precision of a class that was never predicted, recall of one
//! that never occurred, agreement where only one class is.

use serde::Serialize;

/// How well one class is told from the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassScore {
    /// Share of the examples predicted to be of the class that are.
    pub precision: f64,
    /// Share of the class's examples that were predicted.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// The class's examples.
    pub support: u64,
}

impl ClassScore {
    /// From true positives, false positives and false negatives.
    pub(super) fn of([right, extra, missed]: [u64; 3]) -> Self {
        Self {
            precision: ratio(real(right), real(right + extra)),
            recall: ratio(real(right), real(right + missed)),
            f1: ratio(2.0 * real(right), 2.0 * real(right) + real(extra) + real(missed)),
            support: right + missed,
        }
    }
}

/// Scores over all classes. Macro means are over classes that occur or were predicted; weighted means are by support.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Share of examples whose class was predicted; with one class an example also micro precision, recall and F1.
    pub accuracy: f64,
    /// Mean precision of a class.
    pub macro_precision: f64,
    /// Mean recall of a class, also called balanced accuracy.
    pub macro_recall: f64,
    /// Mean F1 of a class.
    pub macro_f1: f64,
    /// F1 of summed true and false positives and negatives: the accuracy, since every example has one class.
    pub micro_f1: f64,
    /// Mean precision by support.
    pub weighted_precision: f64,
    /// Mean recall by support.
    pub weighted_recall: f64,
    /// Mean F1 by support.
    pub weighted_f1: f64,
    /// Cohen's κ (1960): agreement beyond chance.
    pub kappa: f64,
    /// Matthews correlation coefficient for many classes (Gorodkin 2004).
    pub mcc: f64,
}

impl Scores {
    /// From true positives, false positives and false negatives of each class.
    pub(super) fn of(counts: &[[u64; 3]]) -> Self {
        let present: Vec<ClassScore> = counts
            .iter()
            .filter(|counts| counts.iter().any(|&n| n > 0))
            .map(|&counts| ClassScore::of(counts))
            .collect();
        let n = real(present.iter().map(|class| class.support).sum());
        let correct = real(counts.iter().map(|[right, _, _]| right).sum());
        let classes = real(present.len() as u64);
        let by_class = |of: fn(&ClassScore) -> f64| ratio(present.iter().map(of).sum(), classes);
        let by_support =
            |of: fn(&ClassScore) -> f64| ratio(present.iter().map(|class| of(class) * real(class.support)).sum(), n);
        // Σ over classes of (true · predicted), predicted² and true².
        let mut chance = (0.0, 0.0, 0.0);
        for [right, extra, missed] in counts {
            let (truth, predicted) = (real(right + missed), real(right + extra));
            chance.0 += truth * predicted;
            chance.1 += predicted * predicted;
            chance.2 += truth * truth;
        }
        let spread = ((n * n - chance.1) * (n * n - chance.2)).max(0.0).sqrt();
        Self {
            accuracy: ratio(correct, n),
            macro_precision: by_class(|class| class.precision),
            macro_recall: by_class(|class| class.recall),
            macro_f1: by_class(|class| class.f1),
            micro_f1: ratio(correct, n),
            weighted_precision: by_support(|class| class.precision),
            weighted_recall: by_support(|class| class.recall),
            weighted_f1: by_support(|class| class.f1),
            kappa: ratio(correct * n - chance.0, n * n - chance.0),
            mcc: ratio(correct * n - chance.0, spread),
        }
    }
}

/// A count as a real number.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^52")]
const fn real(count: u64) -> f64 {
    count as f64
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        // The cells are printed with nine digits.
        assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    }

    /// The confusion matrix [[50,3,2],[4,40,6],[1,5,39]], computed independently.
    #[test]
    fn scores_equal_the_reference_cells() {
        let counts = [[50, 5, 5], [40, 8, 10], [39, 8, 6]];
        let classes: Vec<_> = counts.iter().map(|&counts| ClassScore::of(counts)).collect();
        for (class, precision, recall, f1, support) in [
            (0, 0.909_090_909, 0.909_090_909, 0.909_090_909, 55),
            (1, 0.833_333_333, 0.8, 0.816_326_531, 50),
            (2, 0.829_787_234, 0.866_666_667, 0.847_826_087, 45),
        ] {
            near(classes[class].precision, precision);
            near(classes[class].recall, recall);
            near(classes[class].f1, f1);
            assert_eq!(classes[class].support, support);
        }
        let scores = Scores::of(&counts);
        near(scores.accuracy, 0.86);
        near(scores.micro_f1, 0.86);
        near(scores.macro_f1, 0.857_747_842);
        near(scores.weighted_f1, 0.859_790_003);
        near(scores.kappa, 0.789_438_503);
        near(scores.mcc, 0.789_649_702);
        near(scores.weighted_recall, 0.86);
    }

    #[test]
    fn classes_that_never_occur_do_not_dilute_macro_means() {
        let scores = Scores::of(&[[3, 0, 0], [0, 0, 0], [2, 0, 0]]);
        near(scores.macro_f1, 1.0);
        near(scores.kappa, 1.0);
    }

    #[test]
    fn nothing_and_one_class_only_yield_numbers() {
        for counts in [&[[0, 0, 0]][..], &[[9, 0, 0], [0, 0, 0]]] {
            let scores = Scores::of(counts);
            assert!(scores.kappa.abs() < 1e-12 && scores.mcc.abs() < 1e-12 && scores.accuracy.is_finite());
        }
    }
}
