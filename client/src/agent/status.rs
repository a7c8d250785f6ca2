//! What an agent tells the person who started it.

use std::time::{Duration, SystemTime};

use tributary_common::Digest;
use tributary_common::id::Ticket;
use tributary_common::message::Done;

/// Something worth a line or a progress bar.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// The coordinator acknowledged an update.
    Acknowledged {
        /// Which.
        ticket: Ticket,
        /// The update's digest.
        digest: Digest,
        /// What proves it to whoever has the run's folder (`tributary inspect RUN --receipt`).
        receipt: Digest,
    },
    /// Work ended without a result that counts.
    Dropped {
        /// Which.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// The run is over.
    Finished(Done),
    /// `Welcome` came and the data fit.
    Joined {
        /// Examples for training.
        examples: u64,
    },
    /// No new certificate came; tries go on until the one in use ends.
    NotRenewed {
        /// Why.
        reason: String,
    },
    /// A model, an update or results did not get through while the connection stands, or the coordinator asks for a pause; the
    /// transfer is tried again, and goes on where it stopped.
    Postponed {
        /// Which.
        ticket: Ticket,
        /// Why.
        reason: String,
        /// After so long.
        wait: Duration,
    },
    /// Steps done.
    Progress {
        /// Of which work.
        ticket: Ticket,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
    /// A new certificate is here, for the next connection.
    Renewed {
        /// When it ends.
        expires: SystemTime,
    },
    /// The coordinator looked at an update and does not take it.
    Refused {
        /// Which.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// A finished update is offered again: the coordinator did not acknowledge it before.
    Resent {
        /// Which.
        ticket: Ticket,
    },
    /// No connection; tries go on. Said once per loss of connection.
    Retrying {
        /// Why.
        reason: String,
        /// How long the first try waits.
        wait: Duration,
    },
    /// The coordinator has stopped for a while.
    Suspended,
    /// The data do not fit the run.
    Unfit {
        /// Why.
        reason: String,
    },
    /// Work began.
    Working {
        /// Which.
        ticket: Ticket,
        /// Bytes of the model.
        bytes: u64,
    },
}
