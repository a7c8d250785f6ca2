//! Who takes part in a round: one file and one row for every way to choose.

mod random;

use tributary_common::config::Row;
use tributary_common::id::{Attempt, Round, Seed};

/// A way to choose a cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Every set of the wanted size is equally likely.
    Random,
}

/// Every selector, by name.
pub const ROWS: &[Row<Selector>] = &[random::ROW];

impl Selector {
    /// `size` different indices below `population`, ascending; all of them if there are fewer. Depends on nothing but the
    /// arguments; costs O(size · log size), whatever the population.
    #[must_use]
    pub fn choose(self, population: usize, size: usize, seed: Seed, round: Round, attempt: Attempt) -> Vec<usize> {
        match self {
            Self::Random => random::choose(population, size, seed, round, attempt),
        }
    }
}
