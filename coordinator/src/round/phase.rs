//! Where the machine is between two commits.

use tributary_common::id::{ClientId, Ticket};
use tributary_common::time::Time;

use super::slot::Place;
use super::{Reason, Slot};

/// Where the machine is.
#[derive(Clone, Debug)]
pub enum Phase {
    /// A cohort works.
    Collecting(Collecting),
    /// The sum is finished, no update counts any more.
    Closing(Collecting),
    /// The next version is built.
    Committing(Collecting),
    /// The run is over.
    Done {
        /// Why.
        reason: Reason,
    },
    /// No round is open.
    Idle,
}

impl Phase {
    /// The phase's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Collecting(_) => "collecting",
            Self::Closing(_) => "closing",
            Self::Committing(_) => "committing",
            Self::Done { .. } => "done",
            Self::Idle => "idle",
        }
    }

    /// The round at hand.
    pub(super) const fn round(&self) -> Option<&Collecting> {
        match self {
            Self::Collecting(round) | Self::Closing(round) | Self::Committing(round) => Some(round),
            Self::Done { .. } | Self::Idle => None,
        }
    }
}

/// A round and its slots.
#[derive(Clone, Debug)]
pub struct Collecting {
    pub(super) ticket: Ticket,
    /// In order of names, so that a client's place is found by bisection.
    pub(super) places: Vec<Place>,
    pub(super) opened: Time,
    pub(super) deadline: Time,
    /// Whether the opening is durable and the offers are out.
    pub(super) is_open: bool,
    /// The fewest updates that may be committed.
    pub(super) quorum: usize,
    /// Sum of the folded weights.
    pub(super) weight: u64,
    /// Updates in the sum.
    pub(super) n_folded: usize,
    /// Slots of which nothing more can come.
    pub(super) n_terminal: usize,
}

impl Collecting {
    pub(super) fn place(&mut self, client: &ClientId) -> Option<(usize, &mut Place)> {
        let index = self.places.binary_search_by(|place| place.client.cmp(client)).ok()?;
        Some((index, &mut self.places[index]))
    }

    /// Ends an open slot.
    pub(super) fn end(&mut self, index: usize, slot: Slot, now: Time) {
        debug_assert!(slot.is_terminal(), "only an end ends a slot");
        let place = &mut self.places[index];
        assert!(!place.slot.is_terminal(), "a slot ends once");
        place.slot = slot;
        place.ended = now;
        self.n_terminal += 1;
    }

    /// What keeps the round from its quorum, for people.
    pub(super) fn missing(&self) -> String {
        let count = |name| self.places.iter().filter(|place| place.slot.name() == name).count();
        let mut text = format!(
            "{} of {} updates came, {} are needed; {} declined, {} lost",
            self.n_folded,
            self.places.len(),
            self.quorum,
            count("declined"),
            count("lost"),
        );
        let reason = self.places.iter().find_map(|place| match &place.slot {
            Slot::Declined(reason) | Slot::Lost(super::Loss::Refused(reason)) => Some((&place.client, reason)),
            _ => None,
        });
        if let Some((client, reason)) = reason {
            text = format!("{text}; {client}: {reason}");
        }
        text
    }
}
