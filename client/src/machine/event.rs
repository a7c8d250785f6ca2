//! What happens to a client.

use tributary_common::Digest;
use tributary_common::id::Ticket;
use tributary_common::message::Offer;

/// Something that happened, told to the machine by its shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The coordinator cancelled a piece of work.
    Cancelled {
        /// Which.
        ticket: Ticket,
    },
    /// Joined: the connection stands, `Welcome` came and the data fit.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// A transfer of this work begins again that came to no end before, while the connection stands.
    Due {
        /// The offer's.
        ticket: Ticket,
    },
    /// The work failed, or the coordinator refused to give its model or to take its result.
    Failed {
        /// For which work.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// The model of an offer is here, whole and checked.
    Fetched {
        /// The offer's.
        ticket: Ticket,
    },
    /// Training or measuring is done; the shell holds the result.
    Finished {
        /// The offer's.
        ticket: Ticket,
        /// The update's digest; an evaluation has none.
        digest: Option<Digest>,
    },
    /// The coordinator offered work.
    Offered(Offer),
    /// The coordinator acknowledged an update.
    Received {
        /// The offer's.
        ticket: Ticket,
        /// The digest that it acknowledges.
        digest: Digest,
    },
    /// The coordinator refused an update.
    Refused {
        /// The offer's.
        ticket: Ticket,
    },
    /// The update that an earlier process finished is here again.
    Restored {
        /// The offer that it answers.
        offer: Offer,
        /// Its digest.
        digest: Digest,
    },
    /// A result was handed over, which ends its work.
    Reported {
        /// The offer's.
        ticket: Ticket,
    },
}
