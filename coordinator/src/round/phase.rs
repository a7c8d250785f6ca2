//! Where the machine is between two commits.

use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket};
use tributary_common::time::Time;

use super::Reason;
use super::slot::{Loss, Place, Slot};

/// Clients of one fate that a message names; the others are counted.
const NAMED_MAX: usize = 5;

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
    /// Whether the shell was asked for what ends this phase: `Close` while closing, `Commit` while committing.
    pub(super) is_asked: bool,
    /// The digest of the version that was built, until its row is durable.
    pub(super) built: Option<Digest>,
    /// The most slots that the run file allows.
    pub(super) target: usize,
    /// The fewest updates that may be committed.
    pub(super) quorum: usize,
    /// The most that one update may weigh; none: what its client states.
    pub(super) weight_max: Option<u64>,
    /// Sum of the weights of staged and folded updates.
    pub(super) weight_accepted: u64,
    /// Sum of the weights of folded updates.
    pub(super) weight: u64,
    /// Updates in the sum.
    pub(super) n_folded: usize,
    /// Slots of which an update may still come.
    pub(super) n_open: usize,
    /// Slots of which nothing more can come.
    pub(super) n_terminal: usize,
}

impl Collecting {
    /// A round whose offers are not out yet.
    pub(super) fn new(ticket: Ticket, cohort: &[ClientId], target: usize, quorum: usize, now: Time) -> Self {
        let place = |client: &ClientId| Place { client: client.clone(), slot: Slot::Offered, ended: now };
        Self {
            ticket,
            places: cohort.iter().map(place).collect(),
            opened: now,
            deadline: now,
            is_open: false,
            is_asked: false,
            built: None,
            target,
            quorum,
            weight_max: None,
            weight_accepted: 0,
            weight: 0,
            n_folded: 0,
            n_open: cohort.len(),
            n_terminal: 0,
        }
    }

    /// The index of a client's place.
    pub(super) fn index(&self, client: &ClientId) -> Option<usize> {
        self.places.binary_search_by(|place| place.client.cmp(client)).ok()
    }

    /// The index of a client's place, if an update may still come of it.
    pub(super) fn open_index(&self, client: &ClientId) -> Option<usize> {
        self.index(client).filter(|&index| self.places[index].slot.is_open())
    }

    /// Lets a slot that ended begin again: the bug that counts an update twice.
    #[cfg(test)]
    pub(super) fn reopen(&mut self, client: &ClientId) {
        let Some(index) = self.index(client) else { return };
        let slot = &mut self.places[index].slot;
        self.n_terminal -= usize::from(slot.is_terminal());
        self.n_open += usize::from(!slot.is_open());
        *slot = Slot::Training;
    }

    /// Moves a slot on: the only way to change one, because it keeps the counts.
    pub(super) fn set(&mut self, index: usize, slot: Slot, now: Time) {
        let place = &mut self.places[index];
        assert!(!place.slot.is_terminal(), "I1: a slot ends once");
        self.n_open = self.n_open - usize::from(place.slot.is_open()) + usize::from(slot.is_open());
        match slot {
            Slot::Staged { weight, .. } => self.weight_accepted += weight,
            Slot::Folded { weight, .. } => {
                self.weight += weight;
                self.n_folded += 1;
            }
            Slot::Away | Slot::Declined(_) | Slot::Lost(_) | Slot::Offered | Slot::Postponed(_) | Slot::Training => {}
        }
        if slot.is_terminal() {
            self.n_terminal += 1;
            place.ended = now;
        }
        place.slot = slot;
    }

    /// Whether updates were there that the coordinator could not take.
    pub(super) fn has_not_taken(&self) -> bool {
        self.places.iter().any(|place| matches!(place.slot, Slot::Lost(Loss::NotTaken(_))))
    }

    /// What keeps the round from its quorum, for people: who declined why, who was late.
    pub(super) fn missing(&self) -> String {
        let mut text = format!("{} of {} updates came, {} are needed", self.n_folded, self.places.len(), self.quorum);
        let because = |client: &ClientId, reason: &str| format!("{client} ({reason})");
        type Told<'a> = &'a dyn Fn(&Place) -> Option<String>;
        let kinds: [(&str, Told<'_>); 4] = [
            ("declined", &|place| match &place.slot {
                Slot::Declined(reason) => Some(because(&place.client, reason)),
                _ => None,
            }),
            ("refused", &|place| match &place.slot {
                Slot::Lost(Loss::Refused(reason)) => Some(because(&place.client, reason)),
                _ => None,
            }),
            ("not taken", &|place| match &place.slot {
                Slot::Lost(Loss::NotTaken(reason)) => Some(because(&place.client, reason)),
                _ => None,
            }),
            ("late", &|place| (place.slot == Slot::Lost(Loss::Late)).then(|| place.client.to_string())),
        ];
        for (kind, told) in kinds {
            let all: Vec<_> = self.places.iter().filter_map(told).collect();
            if let Some(more) = all.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
                text = format!("{text}; {kind}: {} and {more} more", all[..NAMED_MAX].join(", "));
            } else if !all.is_empty() {
                text = format!("{text}; {kind}: {}", all.join(", "));
            }
        }
        text
    }
}
