//! Rules that look at every update of a round: the door for one's own.

use std::fmt;

/// A rule that needs all updates of a round at once, one coordinate at a time: a median, a trimmed mean, one's own.
///
/// The updates are kept until the round closes (by a coordinator in files, by a simulation in memory) and read block by
/// block, so a rule costs memory for one block of every update, never for a whole one.
pub trait Combine: fmt::Debug + Send + Sync {
    /// Writes to `out` what the updates make together, in the coordinates of one block.
    ///
    /// `updates[k]` are the values of the k-th update, `weights[k]` its weight (the examples it was trained on, 1 to 2^32).
    /// Updates come in the order of their clients' names, so the result cannot depend on the order of arrival; all have the
    /// length of `out`, which is at most 4096; there is at least one; every value is finite.
    fn combine(&self, updates: &[&[f64]], weights: &[u64], out: &mut [f64]);
}
