//! How long a transfer waits that came to no end while the connection stands: as long as the coordinator says, each time
//! twice as long, and never too long. The round's deadline ends it: the coordinator cancels the work then.

use std::time::Duration;

use tributary_common::id::{ClientId, Round, Seed, Ticket};
use tributary_common::rng::{self, Purpose};

use crate::machine::Phase;

/// The shortest wait, before it is spread.
const FIRST: Duration = Duration::from_secs(1);

/// No wait is longer, whatever the coordinator says.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// Counts how often a transfer came to no end.
#[derive(Debug)]
pub(super) struct Patience {
    name: ClientId,
    work: Option<(Ticket, Phase)>,
    times: u32,
}

impl Patience {
    pub(super) const fn new(name: ClientId) -> Self {
        Self { name, work: None, times: 0 }
    }

    /// The transfer for `work` came to no end again; uniform between half of the bound and all of it, so that clients that
    /// were turned away together do not come back together.
    pub(super) fn next(&mut self, work: (Ticket, Phase), named: Duration) -> Duration {
        if self.work.replace(work) != Some(work) {
            self.times = 0;
        }
        let bound = named.max(FIRST).saturating_mul(1 << self.times.min(10)).min(LONGEST);
        self.times = self.times.saturating_add(1);
        let mut stream = rng::stream(Seed(1), Round(self.times.into()), Some(&self.name), Purpose::Backoff);
        bound.mul_f64(0.5 + stream.uniform() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::id::Attempt;

    fn work(round: u64, phase: Phase) -> (Ticket, Phase) {
        (Ticket::Train { round: Round(round), attempt: Attempt(0) }, phase)
    }

    /// What goes wrong without it: a coordinator with a full disk is asked by all its clients all the time, or an update waits
    /// for hours because somebody said so, or for a minute because the model came slowly.
    #[test]
    fn waits_begin_as_named_grow_to_their_bound_and_begin_anew_with_other_work() {
        let mut patience = Patience::new("a".parse().unwrap());
        let named = Duration::from_secs(5);
        let waits: Vec<_> = (0..100).map(|_| patience.next(work(1, Phase::Fetching), named)).collect();
        assert!(waits[0] <= named && waits[0] >= named / 2 && waits[1] >= named, "{waits:?}");
        assert!(waits[50..].iter().all(|wait| (LONGEST / 2..=LONGEST).contains(wait)), "{waits:?}");
        assert!(patience.next(work(1, Phase::Returning), named) <= named);
        assert!(patience.next(work(2, Phase::Returning), named) <= named);
        assert!(patience.next(work(3, Phase::Returning), Duration::MAX) <= LONGEST);
        assert!(patience.next(work(4, Phase::Returning), Duration::ZERO) >= FIRST / 2);
        let mut other = Patience::new("b".parse().unwrap());
        assert_ne!(other.next(work(1, Phase::Fetching), named), waits[0]);
    }
}
