//! How long to wait before the next try: exponential with full jitter, so that a thousand clients do not come back in step
//! (M. Brooker, "Exponential Backoff and Jitter", 2015).

use std::time::Duration;

use tributary_common::id::{ClientId, Round, Seed};
use tributary_common::rng::{self, Purpose};

/// The bound of the first wait.
const FIRST: Duration = Duration::from_millis(250);

/// The bound that later waits do not exceed.
const LONGEST: Duration = Duration::from_secs(15);

/// A coordinator cannot keep its clients away for longer than this.
const WINDOW_MAX: Duration = Duration::from_secs(120);

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

    /// Counts a failure; uniform between zero and the bound, which doubles from failure to failure. A coordinator that was
    /// left by all its clients at once has named a `window` for their return: then the bound is no shorter.
    pub(super) fn next(&mut self, window: Duration) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST).max(window.min(WINDOW_MAX));
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
            (0..200).map(|_| backoff.next(Duration::ZERO)).collect::<Vec<_>>()
        };
        let (a, b) = (waits("a"), waits("b"));
        assert!(a[0] <= FIRST && a.iter().all(|wait| *wait <= LONGEST));
        assert!(a.iter().max().unwrap() > &(LONGEST / 2));
        assert_ne!(a, b);
    }

    /// What goes wrong without it: all clients of a coordinator that was restarted are at its door in the same moment.
    #[test]
    fn clients_spread_their_return_over_the_window_and_no_longer_than_allowed() {
        let window = Duration::from_secs(8);
        let mut waits: Vec<Duration> =
            (0..48).map(|index| Backoff::new(ClientId::simulated(index, 48)).next(window)).collect();
        waits.sort_unstable();
        assert!(*waits.last().unwrap() <= window);
        for eighth in 0..8 {
            let inside = waits.iter().filter(|wait| wait.as_secs() == eighth).count();
            assert!((1..=14).contains(&inside), "{inside} of 48 clients come in second {eighth}");
        }
        let mut lied_to = Backoff::new(ClientId::simulated(0, 1));
        assert!((0..100).all(|_| lied_to.next(Duration::MAX) <= WINDOW_MAX));
    }
}
