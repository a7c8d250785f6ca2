//! One place in a cohort.

use tributary_common::Digest;
use tributary_common::id::ClientId;
use tributary_common::time::Time;

/// Why nothing came from a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing came before the deadline.
    Late,
    /// It was there before the deadline, and the coordinator could not take it; why.
    NotTaken(String),
    /// What came was refused.
    Refused(String),
}

/// How far a slot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The connection is gone; it may come back before the deadline.
    Away,
    /// The client said no.
    Declined(String),
    /// The update is in the sum.
    Folded {
        /// Its weight.
        weight: u64,
        /// Its digest.
        digest: Digest,
    },
    /// Nothing came.
    Lost(Loss),
    /// The offer is out.
    Offered,
    /// The update is finished, and the coordinator could not take it yet; why.
    Postponed(String),
    /// The update is here, its row not yet durable.
    Staged {
        /// Its weight.
        weight: u64,
        /// Its digest.
        digest: Digest,
    },
    /// The client works.
    Training,
}

impl Slot {
    /// Whether nothing more can come of it.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        match self {
            Self::Declined(_) | Self::Folded { .. } | Self::Lost(_) => true,
            Self::Away | Self::Offered | Self::Postponed(_) | Self::Staged { .. } | Self::Training => false,
        }
    }

    /// Whether an update may still come.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Away | Self::Offered | Self::Postponed(_) | Self::Training)
    }

    /// The state's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Declined(_) => "declined",
            Self::Folded { .. } => "folded",
            Self::Lost(_) => "lost",
            Self::Offered => "offered",
            Self::Postponed(_) => "postponed",
            Self::Staged { .. } => "staged",
            Self::Training => "training",
        }
    }
}

/// A slot with its client.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) client: ClientId,
    pub(super) slot: Slot,
    pub(super) ended: Time,
}
