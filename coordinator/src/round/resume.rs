//! Going on from the rows of an earlier process.

use tributary_common::id::{Ticket, Version};

use super::{Machine, Roster, Row, Settings};

impl Machine {
    /// A machine that goes on after the last commit in `rows`, whose numbers count from 0.
    ///
    /// A round that was open is opened again under the same ticket: its updates were kept by no durable journal, so none
    /// of them is in a sum, and clients that still hold one give it back. An attempt that was aborted stays aborted.
    #[must_use]
    pub fn resume(settings: Settings, roster: Roster, rows: &[Row]) -> Self {
        let committed = rows.iter().rev().find_map(|row| match row {
            Row::ModelCommitted { version, .. } => Some(*version),
            _ => None,
        });
        let version = committed.unwrap_or(Version(0));
        let mut machine = Self::at(settings, roster, version, rows.len() as u64);
        for row in rows {
            if let Row::RoundAborted { ticket: Ticket::Train { round, attempt }, .. } = row
                && *round == machine.round
            {
                machine.attempt = attempt.next();
            }
        }
        machine
    }
}
