//! Evaluations that are under way: tickets without quorum and without journal, which may overlap the next round.

use std::collections::BTreeSet;

use tributary_common::id::{ClientId, Slot as SlotId, Ticket, Version};
use tributary_common::time::Time;

use super::phase::Collecting;
use super::{Effect, Machine, Report};

/// One committed version and the report that waits for its measuring; there is one for every commit, due or not, because
/// reports come in the order of versions.
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
    pub(super) fn give_up(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        let ticket = self.ticket();
        let awaited = std::mem::take(&mut self.awaited);
        effects.extend(awaited.into_iter().map(|client| Effect::Cancel { client, ticket, reason: reason.to_owned() }));
    }
}

impl Machine {
    /// Asks for the measures of the version that was just committed, if they are due.
    pub(super) fn measure(&mut self, now: Time, round: &Collecting, effects: &mut Vec<Effect>) {
        let is_last = self.round.0 == self.settings.rounds;
        let due = self.settings.evaluate.filter(|evaluate| is_last || self.round.0.is_multiple_of(evaluate.every));
        let mut awaited = BTreeSet::new();
        if due.is_some_and(|evaluate| evaluate.clients) {
            awaited.extend(self.roster.clients());
        }
        if due.is_some_and(|evaluate| evaluate.central) {
            awaited.extend(self.roster.evaluators().cloned());
        }
        let report = Report::Finished {
            ticket: round.ticket,
            version: self.version,
            clients: round.n_folded,
            weight: round.weight,
            digest: round.built.expect("a commit has a digest"),
            opened: round.opened,
            committed: now,
        };
        let measuring = Measuring {
            version: self.version,
            deadline: due.map_or(now, |evaluate| now + evaluate.deadline),
            awaited,
            blocks: due.is_some_and(|evaluate| evaluate.clients || self.settings.has_target),
            report,
        };
        let (ticket, version, left) = (measuring.ticket(), measuring.version, measuring.deadline.since(now));
        effects.extend(measuring.awaited.iter().map(|client| Effect::Offer {
            client: client.clone(),
            ticket,
            slot: SlotId(0),
            version,
            left,
        }));
        self.measuring.push(measuring);
    }

    pub(super) fn evaluated(&mut self, client: &ClientId, ticket: Ticket) {
        if let Some(measuring) = self.measuring.iter_mut().find(|measuring| measuring.ticket() == ticket) {
            measuring.awaited.remove(client);
        }
    }

    /// Reports in the order of versions: a later evaluation that is over waits for an earlier one.
    pub(super) fn report_measured(&mut self, effects: &mut Vec<Effect>) {
        let n_over = self.measuring.iter().take_while(|measuring| measuring.awaited.is_empty()).count();
        effects.extend(self.measuring.drain(..n_over).map(|measuring| Effect::Publish(measuring.report)));
    }
}
