//! What a run asks of its rounds.

use std::time::Duration;

use tributary_common::id::Seed;

use crate::select::Selector;

/// Attempts at one round before the run gives up.
pub const ATTEMPTS_MAX: u32 = 5;

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
}

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

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share from 0 to 1 of a count below 2^53 is a count"
)]
fn at_least_one(share: f64, of: usize) -> usize {
    ((share * of as f64).ceil() as usize).clamp(1, of.max(1))
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
    /// How long a round may take.
    pub deadline: Duration,
    /// What is measured, if anything.
    pub evaluate: Option<Evaluation>,
    /// Whether the next round waits for the evaluation, because that may end the run.
    pub has_target: bool,
}
