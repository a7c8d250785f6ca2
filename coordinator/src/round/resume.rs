//! Going on from the rows of an earlier process.

use tributary_common::id::{Ticket, Version};

use super::settled::Settled;
use super::{Machine, Roster, Row, Settings};

impl Machine {
    /// A machine that goes on after the last commit in `rows`, whose numbers count from 0. It is then given `Wake` once.
    ///
    /// A round that was open is opened again under the same ticket for the same cohort: its updates were kept by no durable
    /// journal, so none of them is in a sum, and the same clients train the same updates again. An attempt that was
    /// aborted stays aborted.
    #[must_use]
    pub fn resume(settings: Settings, roster: Roster, rows: &[Row]) -> Self {
        let committed = rows.iter().rev().find_map(|row| match row {
            Row::ModelCommitted { version, .. } => Some(*version),
            _ => None,
        });
        let version = committed.unwrap_or(Version(0));
        let mut machine = Self::at(settings, roster, version, rows.len() as u64);
        machine.settled = Settled::of_rows(rows);
        for row in rows {
            match row {
                Row::RoundAborted { ticket: Ticket::Train { round, attempt }, .. } if *round == machine.round => {
                    machine.attempt = attempt.next();
                    machine.reopening = None;
                }
                Row::RoundOpened { ticket: Ticket::Train { round, .. }, cohort } if *round == machine.round => {
                    machine.reopening = Some(cohort.clone());
                }
                Row::ModelCommitted { .. }
                | Row::RoundAborted { .. }
                | Row::RoundClosing { .. }
                | Row::RoundOpened { .. }
                | Row::RunCreated { .. }
                | Row::UpdateAccepted { .. } => {}
            }
        }
        machine
    }
}
