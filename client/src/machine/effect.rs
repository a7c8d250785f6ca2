//! What a client's machine wants done.

use tributary_common::id::Ticket;
use tributary_common::message::Offer;

/// Something to do, performed by the shell in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the coordinator that work has begun.
    Accept {
        /// The offer's.
        ticket: Ticket,
    },
    /// Tell the coordinator that no result will come.
    Decline {
        /// The offer's.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// Get the model of an offer.
    Fetch(Offer),
    /// Forget model, update and results of this work.
    Forget {
        /// The offer's.
        ticket: Ticket,
    },
    /// Announce and send the update.
    Put {
        /// The offer's.
        ticket: Ticket,
    },
    /// Send the results of an evaluation.
    Report {
        /// The offer's.
        ticket: Ticket,
    },
    /// Stop the computation at the next batch; its result is not wanted.
    Stop {
        /// The offer's.
        ticket: Ticket,
    },
    /// Train or measure, as the offer's ticket says.
    Work(Offer),
}
