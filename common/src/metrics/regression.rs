//! Errors of a model that predicts one number.

use serde::{Deserialize, Serialize};

use super::{EXAMPLES_MAX, Error, Total};

/// Sums over examples of errors and targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Regression {
    n: u64,
    squared: Total,
    absolute: Total,
    target: Total,
    target_squared: Total,
}

impl Regression {
    /// What one client measured: pairs of target and prediction. The sums are rounded once, at the end.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (mut n, mut squared, mut absolute, mut target, mut target_squared) = (0, 0.0, 0.0, 0.0, 0.0);
        for (truth, predicted) in pairs {
            let error = predicted - truth;
            n += 1;
            squared += error * error;
            absolute += error.abs();
            target += truth;
            target_squared += truth * truth;
        }
        Self {
            n,
            squared: Total::of(squared),
            absolute: Total::of(absolute),
            target: Total::of(target),
            target_squared: Total::of(target_squared),
        }
    }

    /// Adds what was measured elsewhere.
    ///
    /// # Errors
    /// More than can be counted; nothing has changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        let n = self.n.saturating_add(other.n);
        if n > EXAMPLES_MAX {
            return Err(Error::TooMany);
        }
        *self = Self {
            n,
            squared: self.squared.plus(other.squared)?,
            absolute: self.absolute.plus(other.absolute)?,
            target: self.target.plus(other.target)?,
            target_squared: self.target_squared.plus(other.target_squared)?,
        };
        Ok(())
    }

    /// The number of examples.
    #[must_use]
    pub const fn n(&self) -> u64 {
        self.n
    }

    /// Mean squared error; NaN if there is no example.
    #[must_use]
    pub fn mse(&self) -> f64 {
        self.squared.over(self.n)
    }

    /// Root of the mean squared error.
    #[must_use]
    pub fn rmse(&self) -> f64 {
        self.mse().sqrt()
    }

    /// Mean absolute error.
    #[must_use]
    pub fn mae(&self) -> f64 {
        self.absolute.over(self.n)
    }

    /// Share of the targets' variance that is explained: 1 − Σ(y − ŷ)² / Σ(y − ȳ)². 0 where targets do not vary.
    #[must_use]
    pub fn r2(&self) -> f64 {
        let mean = self.target.over(self.n);
        let spread = self.target_squared.over(self.n) - mean * mean;
        if spread <= 0.0 { 0.0 } else { 1.0 - self.mse() / spread }
    }
}

/// What came over the wire, before it is checked.
#[derive(Deserialize)]
struct Unchecked {
    n: u64,
    squared: Total,
    absolute: Total,
    target: Total,
    target_squared: Total,
}

impl TryFrom<Unchecked> for Regression {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self, Error> {
        let Unchecked { n, squared, absolute, target, target_squared } = unchecked;
        if n > EXAMPLES_MAX {
            return Err(Error::TooMany);
        }
        if squared.is_negative() || absolute.is_negative() || target_squared.is_negative() {
            return Err(Error::Contradiction("a sum of squares or magnitudes is negative"));
        }
        Ok(Self { n, squared, absolute, target, target_squared })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        // Totals have a resolution of 2^-40.
        assert!((value - expected).abs() < 1e-11, "{value} is not {expected}");
    }

    #[test]
    fn errors_by_hand_whole_and_merged() {
        let pairs = [(3.0, 2.5), (-0.5, 0.0), (2.0, 2.0), (7.0, 8.0)];
        let whole = Regression::of(pairs);
        let mut merged = Regression::of(pairs[1..].iter().copied());
        merged.merge(&Regression::of([pairs[0]])).unwrap();
        assert_eq!(merged, whole);
        assert_eq!(whole.n(), 4);
        near(whole.mse(), 0.375);
        near(whole.rmse(), 0.375_f64.sqrt());
        near(whole.mae(), 0.5);
        near(whole.r2(), 1.0 - 1.5 / 29.1875);
    }

    #[test]
    fn targets_that_do_not_vary_have_nothing_to_explain() {
        near(Regression::of([(1.0, 2.0), (1.0, 0.0)]).r2(), 0.0);
        assert!(Regression::default().mse().is_nan());
    }

    #[test]
    fn sums_that_no_examples_yield_are_refused() {
        let read = |n, squared| {
            let (zero, squared) = (Total::default(), Total::of(squared));
            Regression::try_from(Unchecked { n, squared, absolute: zero, target: zero, target_squared: zero })
        };
        assert!(read(1, 1.0).is_ok());
        assert!(read(1, -1.0).is_err());
        assert!(read(EXAMPLES_MAX + 1, 1.0).is_err());
        let mut most = read(EXAMPLES_MAX, 1.0).unwrap();
        assert_eq!(most.merge(&read(1, 1.0).unwrap()), Err(Error::TooMany));
    }
}
