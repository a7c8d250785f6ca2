//! How much an update counts.

use std::fmt;

use super::{Error, WEIGHT_MAX};

/// The integer weight of an update, from 1 to [`WEIGHT_MAX`]: the client's number of examples, or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u64);

impl Weight {
    /// The weight of every client where all count the same.
    pub const ONE: Self = Self(1);

    /// The weight `n`.
    ///
    /// # Errors
    /// `n` is 0 or above [`WEIGHT_MAX`].
    pub const fn new(n: u64) -> Result<Self, Error> {
        if n == 0 || n > WEIGHT_MAX { Err(Error::WeightOutside { weight: n }) } else { Ok(Self(n)) }
    }

    /// The weight as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_outside_the_limit_are_refused() {
        for good in [1, WEIGHT_MAX] {
            assert_eq!(Weight::new(good).unwrap().get(), good);
        }
        for bad in [0, WEIGHT_MAX + 1, u64::MAX] {
            assert!(Weight::new(bad).is_err(), "{bad}");
        }
    }
}
