//! What a run asks of its rounds.

use std::time::Duration;

use tributary_common::id::Seed;

use super::share::WeightShare;
use crate::select::Selector;

/// Attempts at one round before the run gives up.
pub const ATTEMPTS_MAX: u32 = 3;

/// The largest weight of one update: 2^32 examples.
pub const WEIGHT_MAX: u64 = 1 << 32;

/// The largest sum of weights of one round: up to it the sum of weights is exact in a double.
pub const WEIGHT_SUM_MAX: u64 = 1 << 52;

/// How long the machine waits before the second attempt at a round; doubled for each further one.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many clients take part in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CohortSize {
    /// All that are here.
    All,
    /// So many.
    Number(usize),
    /// This share of those that are here, at least one; from 0 to 1.
    Share(f64),
}

impl CohortSize {
    /// How many that is of `joined` clients.
    #[must_use]
    pub fn of(self, joined: usize) -> usize {
        match self {
            Self::All => joined,
            Self::Number(number) => number.min(joined),
            Self::Share(share) => at_least_one(share, joined),
        }
    }

    /// How many clients must have joined for a cohort of `wanted`.
    pub(super) fn least_joined(self, wanted: usize) -> usize {
        match self {
            // A number below the quorum is an error of the run file, which whoever builds `Settings` refuses.
            Self::All | Self::Number(_) => wanted,
            Self::Share(_) => {
                let (mut low, mut high) = (wanted, wanted);
                while self.of(high) < wanted && high < POPULATION_MAX {
                    (low, high) = (high, high.saturating_mul(2));
                }
                while low < high {
                    let middle = low.midpoint(high);
                    if self.of(middle) < wanted { low = middle + 1 } else { high = middle }
                }
                low
            }
        }
    }
}

/// The most clients that a share is taken of.
const POPULATION_MAX: usize = 1 << 32;

/// The fewest updates that may be committed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quorum {
    /// So many.
    Number(usize),
    /// This share of the cohort, rounded up; from 0 to 1.
    Share(f64),
}

impl Quorum {
    /// How many that is of a cohort; at least one.
    #[must_use]
    pub fn of(self, cohort: usize) -> usize {
        match self {
            Self::Number(number) => number.max(1),
            Self::Share(share) => at_least_one(share, cohort),
        }
    }
}

/// `share · of`, rounded up. A share is rarely exact in binary: 0.07 · 100 is 7.000000000000001, which is meant to be 7.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share from 0 to 1 of a count below 2^53 is a count"
)]
fn at_least_one(share: f64, of: usize) -> usize {
    let product = share * of as f64;
    let tolerance = 1e-12 * product;
    ((product - tolerance).ceil() as usize).clamp(1, of.max(1))
}

/// When and on what versions are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// Every so many rounds, and after the last one.
    pub every: u64,
    /// Ask every joined client, before the next round opens (`train`, `local`).
    pub clients: bool,
    /// Ask the evaluators, beside the next round (`central`).
    pub central: bool,
    /// How long results are waited for.
    pub deadline: Duration,
}

/// What a run asks of its rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The root of all randomness.
    pub seed: Seed,
    /// Rounds to commit.
    pub rounds: u64,
    /// How the cohort is chosen.
    pub selector: Selector,
    /// How large it is.
    pub cohort: CohortSize,
    /// Clients that must have joined before the first round.
    pub wait_for: usize,
    /// The fewest updates that may be committed.
    pub quorum: Quorum,
    /// The largest share of a round's weight that one client may have; none: what it states.
    pub max_weight_share: Option<WeightShare>,
    /// How long a round may take.
    pub deadline: Duration,
    /// What is measured, if anything.
    pub evaluate: Option<Evaluation>,
    /// Whether the next round waits for the evaluation, because that may end the run.
    pub has_target: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up_but_not_by_the_error_of_binary_fractions() {
        for (share, of, expected) in [(0.07, 100, 7), (0.55, 20, 11), (0.1, 1_000_000, 100_000), (0.101, 100, 11)] {
            assert_eq!(CohortSize::Share(share).of(of), expected, "{share} of {of}");
        }
        assert_eq!(CohortSize::Share(0.001).of(10), 1);
        assert_eq!(Quorum::Share(0.8).of(0), 1);
        assert_eq!(Quorum::Number(0).of(5), 1);
        assert_eq!((CohortSize::All.of(7), CohortSize::Number(9).of(7)), (7, 7));
    }

    /// Without it a run waits for clients and names a number that is not enough.
    #[test]
    fn the_clients_a_share_needs_for_a_quorum_are_the_fewest_that_suffice() {
        let size = CohortSize::Share(0.1);
        for wanted in 1..40 {
            let least = size.least_joined(wanted);
            assert!(size.of(least) >= wanted && (least == wanted || size.of(least - 1) < wanted), "{wanted}: {least}");
        }
        assert_eq!(CohortSize::All.least_joined(4), 4);
    }
}
