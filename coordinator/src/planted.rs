//! Bugs that are planted on purpose, one at a time, to see whether the simulated faults find them ([`crate::faults`]).
//!
//! A harness that finds nothing may be blind. These switches exist in this crate's own unit tests and nowhere else: they are
//! compiled under `cfg(test)` alone, no feature turns them on, and no rebuild is needed from one to the next.

use std::cell::Cell;

/// A bug that a coordinator might have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// An attempt that missed its quorum is not written down as aborted.
    AbortUnwritten,
    /// The sum of an aborted attempt is not forgotten: its updates count in the next one.
    AbortedSumKept,
    /// A new process forgets what was accepted before.
    AcceptedForgotten,
    /// Updates are keyed by round and client, without the attempt.
    AttemptIgnored,
    /// Rows are read without a look at their hashes.
    ChainUnchecked,
    /// A new process forgets what one update of the open round may weigh.
    BoundForgotten,
    /// A round is committed with any update at all.
    CommitBelowQuorum,
    /// An open round gets its whole deadline again in a new process.
    DeadlineRestarted,
    /// The same update counts each time that it comes.
    DuplicateCounted,
    /// Updates are added in floating point, in the order in which they come.
    FloatSum,
    /// Offers leave before the row that opens their round is durable.
    OfferBeforeFsync,
    /// A pause cancels what is out, although the next process waits for it.
    PauseCancels,
    /// A receipt leaves before the row of its update is durable.
    ReceiptBeforeFsync,
    /// Whoever counts gets a receipt for whatever it sends.
    ReceiptForAnyDigest,
    /// Versions are counted by twos.
    VersionSkipped,
}

impl Bug {
    /// All of them.
    pub(crate) const ALL: [Self; 15] = [
        Self::AbortUnwritten,
        Self::AbortedSumKept,
        Self::AcceptedForgotten,
        Self::AttemptIgnored,
        Self::BoundForgotten,
        Self::ChainUnchecked,
        Self::CommitBelowQuorum,
        Self::DeadlineRestarted,
        Self::DuplicateCounted,
        Self::FloatSum,
        Self::OfferBeforeFsync,
        Self::PauseCancels,
        Self::ReceiptBeforeFsync,
        Self::ReceiptForAnyDigest,
        Self::VersionSkipped,
    ];

    /// Whether this thread has it.
    pub(crate) fn is_planted(self) -> bool {
        PLANTED.get() == Some(self)
    }

    /// What `run` does with this bug.
    pub(crate) fn plant<T>(self, run: impl FnOnce() -> T) -> T {
        PLANTED.set(Some(self));
        let result = run();
        PLANTED.set(None);
        result
    }
}

/// Whether this thread has any bug.
pub(crate) fn is_any() -> bool {
    PLANTED.get().is_some()
}

thread_local! {
    /// Simulated runs share nothing: each thread has its own bug.
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}
