//! What coordinator and clients say to each other in a simulated run: the messages of the protocol and the answers of its
//! transfers, without their encoding.

use tributary_common::Digest;
use tributary_common::id::{Ticket, Version};
use tributary_common::message::Offer;

use super::work::Update;

/// From the coordinator.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ToClient {
    Cancel {
        ticket: Ticket,
    },
    Done,
    /// A transfer came to no end: the coordinator does not take or give it now, or its stream broke.
    Later {
        ticket: Ticket,
    },
    /// The model of an offer is here, or is not kept any more.
    Model {
        ticket: Ticket,
        is_there: bool,
    },
    Offer(Offer),
    Receipt {
        ticket: Ticket,
        digest: Digest,
    },
    Reported {
        ticket: Ticket,
    },
    /// The bytes of the announced update may come.
    Permit {
        ticket: Ticket,
        digest: Digest,
    },
    /// They may not, or need not: `Put` is over, well or not.
    PutOver {
        ticket: Ticket,
        is_known: bool,
    },
    Suspended,
    Verdict {
        ticket: Ticket,
    },
    Welcome {
        is_done: bool,
    },
}

/// From a client.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ToCoordinator {
    Accept {
        ticket: Ticket,
    },
    Decline {
        ticket: Ticket,
    },
    Get {
        ticket: Ticket,
        version: Version,
    },
    Hello {
        holding: Option<Ticket>,
    },
    /// The bytes of an update, with the header that announced them.
    Payload {
        announced: Announced,
        update: Update,
    },
    Put(Announced),
    Progress {
        ticket: Ticket,
    },
    /// How many examples it says that it has.
    Ready {
        examples: u64,
    },
    Report {
        ticket: Ticket,
    },
}

/// The header of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) ticket: Ticket,
    /// The number of examples that the client states.
    pub(super) weight: u64,
    pub(super) digest: Digest,
}

impl Update {
    /// Its header, as an honest client writes it.
    pub(super) const fn announced(&self) -> Announced {
        Announced { ticket: self.ticket, weight: self.weight, digest: self.digest }
    }
}
