//! Evaluations that are under way: tickets without quorum and without journal, which may overlap the next round.

use std::collections::BTreeSet;

use tributary_common::id::{ClientId, Ticket, Version};
use tributary_common::time::Time;

use super::effect::{Effect, Report};

/// One version being measured, and the report that waits for it.
#[derive(Clone, Debug)]
pub(super) struct Measuring {
    pub(super) version: Version,
    pub(super) deadline: Time,
    /// Who has not answered yet.
    pub(super) awaited: BTreeSet<ClientId>,
    /// Whether the next round waits for it.
    pub(super) blocks: bool,
    /// Told to the world when the evaluation is over.
    pub(super) report: Report,
}

impl Measuring {
    pub(super) const fn ticket(&self) -> Ticket {
        Ticket::Evaluate { version: self.version }
    }

    /// Cancels what has not come.
    pub(super) fn give_up(&mut self, effects: &mut Vec<Effect>) {
        let ticket = self.ticket();
        effects.extend(std::mem::take(&mut self.awaited).into_iter().map(|client| Effect::Cancel {
            client,
            ticket,
            reason: "the evaluation is over".to_owned(),
        }));
    }
}
