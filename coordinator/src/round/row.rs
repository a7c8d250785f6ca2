//! What is made durable, in the order in which it happened; replaying the rows restores the machine.

use serde::{Deserialize, Serialize};
use tributary_common::Digest;
use tributary_common::id::{ClientId, RunId, Ticket, Version};
use tributary_common::time::Time;

/// A row with its time: what the rows of an earlier process are to the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// When the row was asked for, on the run's own clock: it stands still while no process serves the run.
    pub at: Time,
    /// The row.
    #[serde(flatten)]
    pub row: Row,
}

/// One row of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "row")]
pub enum Row {
    /// A version is built and stored.
    ModelCommitted {
        /// The round's.
        ticket: Ticket,
        /// The version.
        version: Version,
        /// Its digest.
        digest: Digest,
        /// Sum of the weights that count.
        weight: u64,
    },
    /// An attempt is over without a version.
    RoundAborted {
        /// The round's.
        ticket: Ticket,
        /// What was missing, for people.
        missing: String,
    },
    /// No further update counts for this round.
    RoundClosing {
        /// The round's.
        ticket: Ticket,
    },
    /// A cohort was chosen.
    RoundOpened {
        /// The round's.
        ticket: Ticket,
        /// The clients, in order of slots.
        cohort: Vec<ClientId>,
        /// The most that one update may weigh, where a client's share is bounded: it follows from what the cohort announced
        /// when it was chosen, which the next process does not know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight_max: Option<u64>,
    },
    /// Somebody went back to an earlier version; what came after it counts no more.
    RolledBack {
        /// The version that the run goes on from.
        version: Version,
    },
    /// First.
    RunCreated {
        /// The run.
        run: RunId,
        /// Digest of the configuration.
        config: Digest,
        /// Digest of the initial model.
        model: Digest,
    },
    /// An update will count.
    UpdateAccepted {
        /// The round's.
        ticket: Ticket,
        /// Whose.
        client: ClientId,
        /// Its integer weight.
        weight: u64,
        /// Its digest.
        digest: Digest,
    },
}

impl Row {
    /// Whether the round at hand is over with it: no update of the round is needed any more.
    #[must_use]
    pub const fn ends_round(&self) -> bool {
        match self {
            Self::ModelCommitted { .. } | Self::RoundAborted { .. } | Self::RolledBack { .. } => true,
            Self::RoundClosing { .. }
            | Self::RoundOpened { .. }
            | Self::RunCreated { .. }
            | Self::UpdateAccepted { .. } => false,
        }
    }
}
