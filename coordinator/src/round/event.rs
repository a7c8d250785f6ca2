//! What happens to the coordinator.

use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket, Version};
use tributary_common::identity::Role;

/// Something that happened, told to the machine by its shell. An event from a peer may be stale, repeated or impossible:
/// then it changes nothing and is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A row is durable, and so are all before it.
    Appended {
        /// Its number.
        sequence: u64,
    },
    /// Every `Fold` of the round is done.
    Closed {
        /// The round's.
        ticket: Ticket,
    },
    /// The new version is built and stored.
    Committed {
        /// The version.
        version: Version,
        /// Its digest.
        digest: Digest,
    },
    /// The results of an evaluation came.
    Evaluated {
        /// From whom.
        client: ClientId,
        /// The offer's.
        ticket: Ticket,
    },
    /// A client is connected and its data fit. A second `Joined` is a reconnect.
    Joined {
        /// Who.
        client: ClientId,
        /// As what.
        role: Role,
        /// The ticket for which it holds an update that was not acknowledged.
        holding: Option<Ticket>,
        /// What its updates will weigh, as it announces; 0 if nothing good was announced.
        weight: u64,
    },
    /// A connection is gone.
    Left {
        /// Whose.
        client: ClientId,
    },
    /// The shell does not take an update now, for a reason that is not the update's: its client comes again with it.
    Postponed {
        /// Whose.
        client: ClientId,
        /// The offer's.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// A client says how far it is; any sign of work will do.
    Progress {
        /// Who.
        client: ClientId,
        /// The offer's.
        ticket: Ticket,
    },
    /// The shell refused an update: wrong shape, not finite, wrong digest.
    Refused {
        /// Whose.
        client: ClientId,
        /// The offer's.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// The certificate with which a client was here was taken back: its connection is closed, and nothing more of it is
    /// taken until it comes with another.
    Revoked {
        /// Whose.
        client: ClientId,
    },
    /// An update is here, whole and checked.
    Staged {
        /// Whose.
        client: ClientId,
        /// The offer's.
        ticket: Ticket,
        /// Its integer weight.
        weight: u64,
        /// Its digest.
        digest: Digest,
    },
    /// Somebody wants the coordinator to stop for now.
    StopAsked,
    /// The store cannot keep what it is given.
    StoreFailed {
        /// Why.
        reason: String,
    },
    /// The version that was measured last reaches the stop target (`run.stop_at`): no further round opens.
    TargetReached,
    /// A client began to work.
    TaskAccepted {
        /// Who.
        client: ClientId,
        /// The offer's.
        ticket: Ticket,
    },
    /// A client will not work, or failed.
    TaskDeclined {
        /// Who.
        client: ClientId,
        /// The offer's.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// The time of `wake_at` has come.
    Wake,
}
