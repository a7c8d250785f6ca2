//! What the machine wants done.

use std::fmt;
use std::time::Duration;

use tributary_common::Digest;
use tributary_common::id::{ClientId, Slot as SlotId, Ticket, Version};
use tributary_common::time::Time;

use super::{Row, Slot};

/// Something to do, performed by the shell in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make a row durable, then answer `Appended`.
    Append {
        /// Its number, counted from 0 without gaps.
        sequence: u64,
        /// The row.
        row: Row,
    },
    /// Tell a client to stop and forget.
    Cancel {
        /// Whom.
        client: ClientId,
        /// The offer's.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// Finish all folds of the round, then answer `Closed`.
    Close {
        /// The round's.
        ticket: Ticket,
    },
    /// Build and store the next version from the sum, then answer `Committed`.
    Commit {
        /// The round's.
        ticket: Ticket,
        /// The version to make.
        version: Version,
        /// The weight that the sum must have.
        weight: u64,
    },
    /// Forget an update and tell its sender why.
    Discard {
        /// Whose.
        client: ClientId,
        /// Of which work.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// Forget the sum of a round that will not be committed.
    Drop {
        /// The round's.
        ticket: Ticket,
    },
    /// Add a staged update to the sum.
    Fold {
        /// Whose.
        client: ClientId,
        /// The round's.
        ticket: Ticket,
        /// Its integer weight.
        weight: u64,
    },
    /// Tell a client that came after the end how the run ended.
    Goodbye {
        /// Whom.
        client: ClientId,
        /// Why.
        reason: Reason,
    },
    /// Offer work.
    Offer {
        /// To whom.
        client: ClientId,
        /// For what.
        ticket: Ticket,
        /// Its place in the cohort.
        slot: SlotId,
        /// The version to start from.
        version: Version,
        /// What is left until the deadline.
        left: Duration,
    },
    /// Tell the world.
    Publish(Report),
    /// Tell a client that its update counts.
    Receipt {
        /// Whom.
        client: ClientId,
        /// The offer's.
        ticket: Ticket,
        /// The update's digest.
        digest: Digest,
    },
    /// Tell all who are here how the run ended, or that it pauses, and end.
    Stop {
        /// Why.
        reason: Reason,
    },
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too few updates counted in every attempt at a round, and in the last one some were there that the coordinator could
    /// not take.
    Postponed {
        /// What was missing and why, for people.
        missing: String,
    },
    /// Too few updates came in every attempt at a round.
    QuorumMissed {
        /// What was missing, for people.
        missing: String,
    },
    /// All rounds are done.
    Rounds,
    /// The store cannot keep what it is given.
    StoreFailed {
        /// Why.
        reason: String,
    },
    /// Stopped for now.
    Suspended,
    /// The stop target is reached.
    Target,
}

impl Reason {
    /// Whether the run goes on in the next process, inside the round that is open.
    #[must_use]
    pub const fn is_pause(&self) -> bool {
        match self {
            Self::Postponed { .. } | Self::StoreFailed { .. } | Self::Suspended => true,
            Self::QuorumMissed { .. } | Self::Rounds | Self::Target => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postponed { missing } => write!(f, "updates came that could not be taken: {missing}"),
            Self::QuorumMissed { missing } => write!(f, "the run ended below its quorum: {missing}"),
            Self::Rounds => f.write_str("all rounds are done"),
            Self::StoreFailed { reason } => write!(f, "the store failed: {reason}"),
            Self::Suspended => f.write_str("the coordinator stops for now"),
            Self::Target => f.write_str("the stop target is reached"),
        }
    }
}

/// How one slot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Whose slot.
    pub client: ClientId,
    /// Its last state: folded, declined or lost.
    pub slot: Slot,
    /// When it ended.
    pub ended: Time,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// An attempt missed its quorum.
    Aborted {
        /// The round's.
        ticket: Ticket,
        /// What was missing, for people.
        missing: String,
    },
    /// A round closed: the fates of its slots.
    Closed {
        /// The round's.
        ticket: Ticket,
        /// From the first offer.
        opened: Time,
        /// In order of slots.
        fates: Vec<Fate>,
    },
    /// A committed round whose evaluation, if one was due, is over.
    Finished {
        /// The round's.
        ticket: Ticket,
        /// The version that it made.
        version: Version,
        /// Updates that count.
        clients: usize,
        /// Sum of their weights.
        weight: u64,
        /// Digest of the version.
        digest: Digest,
        /// From the first offer …
        opened: Time,
        /// … to the commit.
        committed: Time,
    },
    /// No round can open before more clients join.
    Waiting {
        /// Clients that are here.
        joined: usize,
        /// Clients that must be here.
        needed: usize,
        /// Whether an evaluator must be here too, and is not.
        lacks_evaluator: bool,
    },
}
