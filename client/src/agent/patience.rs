//! How long a finished update waits that the coordinator has not taken: as long as the coordinator says, each time twice as
//! long, and never too long. The round's deadline ends it: the coordinator cancels the work then.

use std::time::Duration;

use tributary_common::id::{ClientId, Round, Seed, Ticket};
use tributary_common::rng::{self, Purpose};

/// The shortest wait, before it is spread.
const FIRST: Duration = Duration::from_secs(1);

/// No wait is longer, whatever the coordinator says.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// Counts how often an update was not taken.
#[derive(Debug)]
pub(super) struct Patience {
    name: ClientId,
    ticket: Option<Ticket>,
    times: u32,
}

impl Patience {
    pub(super) const fn new(name: ClientId) -> Self {
        Self { name, ticket: None, times: 0 }
    }

    /// The update of `ticket` was not taken again; uniform between half of the bound and all of it, so that clients that were
    /// turned away together do not come back together.
    pub(super) fn next(&mut self, ticket: Ticket, named: Duration) -> Duration {
        if self.ticket.replace(ticket) != Some(ticket) {
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

    fn ticket(round: u64) -> Ticket {
        Ticket::Train { round: Round(round), attempt: Attempt(0) }
    }

    /// What goes wrong without it: a coordinator with a full disk is asked by all its clients all the time, or an update waits
    /// for hours because somebody said so.
    #[test]
    fn waits_begin_as_named_grow_to_their_bound_and_begin_anew_with_other_work() {
        let mut patience = Patience::new("a".parse().unwrap());
        let named = Duration::from_secs(5);
        let waits: Vec<_> = (0..100).map(|_| patience.next(ticket(1), named)).collect();
        assert!(waits[0] <= named && waits[0] >= named / 2 && waits[1] >= named, "{waits:?}");
        assert!(waits[50..].iter().all(|wait| (LONGEST / 2..=LONGEST).contains(wait)), "{waits:?}");
        assert!(patience.next(ticket(2), named) <= named);
        assert!(patience.next(ticket(3), Duration::MAX) <= LONGEST);
        assert!(patience.next(ticket(4), Duration::ZERO) >= FIRST / 2);
        let mut other = Patience::new("b".parse().unwrap());
        assert_ne!(other.next(ticket(1), named), waits[0]);
    }
}
