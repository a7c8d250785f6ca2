//! How long to wait before the next try: exponential with full jitter, so that a thousand clients do not come back in step
//! (M. Brooker, "Exponential Backoff and Jitter", 2015).

use std::time::Duration;

use tributary_common::id::{ClientId, Round, Seed};
use tributary_common::rng::{self, Purpose};

/// The bound of the first wait.
const FIRST: Duration = Duration::from_millis(250);

/// The bound that later waits do not exceed.
const LONGEST: Duration = Duration::from_secs(15);

/// Counts failed tries and says how long to wait.
#[derive(Debug)]
pub(super) struct Backoff {
    name: ClientId,
    failures: u32,
}

impl Backoff {
    pub(super) const fn new(name: ClientId) -> Self {
        Self { name, failures: 0 }
    }

    /// Forgets the failures: a connection stood.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Tries that failed since the last success.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure; uniform between zero and the bound, which doubles from failure to failure.
    pub(super) fn next(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let round = Round(u64::from(self.failures));
        bound.mul_f64(rng::stream(Seed(0), round, Some(&self.name), Purpose::Backoff).uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_differ_between_clients() {
        let waits = |name: &str| {
            let mut backoff = Backoff::new(name.parse().unwrap());
            (0..200).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        let (a, b) = (waits("a"), waits("b"));
        assert!(a[0] <= FIRST && a.iter().all(|wait| *wait <= LONGEST));
        assert!(a.iter().max().unwrap() > &(LONGEST / 2));
        assert_ne!(a, b);
    }
}
