//! A sum of real numbers that does not depend on order.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::sum::quotient;

/// Units a one: a total is a multiple of 2^-40, about 1e-12.
const ONE: f64 = 1_099_511_627_776.0;

/// The largest contribution by magnitude, 2^60: 2^100 units, so that 2^27 clients fit 128 bits.
const CONTRIBUTION_MAX: f64 = 1_152_921_504_606_846_976.0;

/// A sum of contributions, each rounded once to a multiple of 2^-40 (ties to even).
///
/// A contribution that is not finite or beyond 2^60 (a model that diverged) is counted instead of added; the value is then
/// not a number, in whatever order it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    units: i128,
    outside: u64,
}

impl Total {
    /// The total of one contribution: a client's sum over its examples.
    #[must_use]
    pub fn of(contribution: f64) -> Self {
        if contribution.is_finite() && contribution.abs() <= CONTRIBUTION_MAX {
            #[expect(clippy::cast_possible_truncation, reason = "an integer of at most 2^100")]
            let units = (contribution * ONE).round_ties_even() as i128;
            Self { units, outside: 0 }
        } else {
            Self { units: 0, outside: 1 }
        }
    }

    /// Both together.
    ///
    /// # Errors
    /// Beyond 128 bits.
    pub fn plus(self, other: Self) -> Result<Self, Error> {
        let units = self.units.checked_add(other.units).ok_or(Error::TooMany)?;
        let outside = self.outside.checked_add(other.outside).ok_or(Error::TooMany)?;
        Ok(Self { units, outside })
    }

    /// The total as a number.
    #[must_use]
    pub fn value(self) -> f64 {
        self.over(1)
    }

    /// The total divided by `n`; NaN if `n` is 0.
    #[must_use]
    pub fn over(self, n: u64) -> f64 {
        if n == 0 || self.outside > 0 { f64::NAN } else { quotient(self.units, n) / ONE }
    }

    /// Whether no contribution was below 0: an error for what is a sum of squares.
    pub(super) const fn is_negative(self) -> bool {
        self.units < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_round_once_and_add_exactly() {
        let total = Total::of(0.75).plus(Total::of(2.25)).unwrap();
        assert_eq!(total, Total::of(3.0));
        assert!((total.over(2) - 1.5).abs() < f64::EPSILON);
        assert_eq!(Total::of(ONE.recip() / 2.0), Total::default());
        assert!(Total::of(1.0).over(0).is_nan());
    }

    /// A diverged client must show, whoever came first, and must not stop the others from being counted.
    #[test]
    fn contribution_beyond_range_shows_in_any_order() {
        for bad in [f64::NAN, f64::INFINITY, -1e300] {
            let (a, b) = (Total::of(bad), Total::of(1.0));
            assert_eq!(a.plus(b).unwrap(), b.plus(a).unwrap());
            assert!(a.plus(b).unwrap().value().is_nan());
        }
        assert!((Total::of(CONTRIBUTION_MAX).value() - CONTRIBUTION_MAX).abs() < 1.0);
    }

    #[test]
    fn total_beyond_128_bits_is_an_error() {
        let most = Total { units: i128::MAX, outside: 0 };
        assert_eq!(most.plus(Total::of(1.0)), Err(Error::TooMany));
    }
}
