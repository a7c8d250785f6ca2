//! Evaluations that are under way: tickets without quorum and without journal, which may overlap the next round.

use std::collections::BTreeSet;

use tributary_common::id::{ClientId, Round, Slot as SlotId, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::time::Time;

use super::phase::Collecting;
use super::{Effect, Evaluation, Machine, Recorded, Report, Row};

/// One committed version and the report that waits for its measuring; there is one for every commit, due or not, because
/// reports come in the order of versions.
#[derive(Clone, Debug)]
pub(super) struct Measuring {
    pub(super) version: Version,
    pub(super) deadline: Time,
    /// Who has not answered yet.
    pub(super) awaited: BTreeSet<ClientId>,
    /// Whether those who come are asked too: after a restart, until enough have come back.
    pub(super) gathers: bool,
    /// Whether the next round waits for it.
    pub(super) blocks: bool,
    /// Told to the world when the evaluation is over.
    pub(super) report: Report,
}

impl Measuring {
    pub(super) const fn ticket(&self) -> Ticket {
        Ticket::Evaluate { version: self.version }
    }

    /// Whether no answer can come any more.
    pub(super) fn is_over(&self) -> bool {
        self.awaited.is_empty() && !self.gathers
    }

    /// Cancels what has not come.
    pub(super) fn give_up(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        let ticket = self.ticket();
        let awaited = std::mem::take(&mut self.awaited);
        self.gathers = false;
        effects.extend(awaited.into_iter().map(|client| Effect::Cancel { client, ticket, reason: reason.to_owned() }));
    }
}

impl Machine {
    /// What is to be measured of the version that `round` made, if anything.
    fn due(&self, round: Round) -> Option<Evaluation> {
        let is_last = round.0 == self.settings.rounds;
        self.settings.evaluate.filter(|evaluate| is_last || round.0.is_multiple_of(evaluate.every))
    }

    /// Asks for the measures of the version that was just committed, if they are due.
    pub(super) fn measure(&mut self, now: Time, round: &Collecting, effects: &mut Vec<Effect>) {
        let report = Report::Finished {
            ticket: round.ticket,
            version: self.version,
            clients: round.n_folded,
            weight: round.weight,
            digest: round.built.expect("a commit has a digest"),
            opened: round.opened,
            committed: now,
        };
        let due = self.due(self.round);
        self.begin_measuring(now, self.version, due, report, effects);
    }

    /// Asks everybody who is here and who measures; shortly after a restart also those who come back.
    fn begin_measuring(
        &mut self,
        now: Time,
        version: Version,
        due: Option<Evaluation>,
        report: Report,
        effects: &mut Vec<Effect>,
    ) {
        let mut awaited = BTreeSet::new();
        if due.is_some_and(|evaluate| evaluate.clients) {
            awaited.extend(self.roster.clients());
        }
        if due.is_some_and(|evaluate| evaluate.central) {
            awaited.extend(self.roster.evaluators().cloned());
        }
        let measuring = Measuring {
            version,
            deadline: due.map_or(now, |evaluate| now + evaluate.deadline),
            awaited,
            gathers: self.patience_until.is_some() && due.is_some(),
            blocks: due.is_some_and(|evaluate| evaluate.clients || self.settings.has_target),
            report,
        };
        let (ticket, left) = (measuring.ticket(), measuring.deadline.since(now));
        effects.extend(measuring.awaited.iter().map(|client| Effect::Offer {
            client: client.clone(),
            ticket,
            slot: SlotId(0),
            version,
            left,
        }));
        self.measuring.push(measuring);
        self.stop_gathering_if_enough();
    }

    /// What an earlier process committed and did not live to tell: its reports are told now. `told` are the versions whose
    /// reports are out, `served` those that can still be fetched, the last ones without gaps, two at most: they are measured
    /// first, by those who come back. Called once, right behind [`Machine::resume`] with the same `rows`.
    pub fn tell_again(
        &mut self,
        now: Time,
        rows: &[Recorded],
        told: &BTreeSet<Version>,
        served: &BTreeSet<Version>,
        effects: &mut Vec<Effect>,
    ) {
        for (round, version, report) in reports(rows) {
            if told.contains(&version) {
                continue;
            }
            if !served.contains(&version) {
                effects.push(Effect::Publish(report));
                continue;
            }
            let due = self.due(round);
            self.begin_measuring(now, version, due, report, effects);
        }
    }

    /// One that comes back while it is not known yet who measures is asked like those who were here.
    pub(super) fn gather(&mut self, client: &ClientId, role: Role) {
        let Some(evaluate) = self.settings.evaluate else { return };
        let measures = match role {
            Role::Client => evaluate.clients,
            Role::Evaluator => evaluate.central,
            Role::Coordinator => false,
        };
        for measuring in self.measuring.iter_mut().filter(|measuring| measuring.gathers && measures) {
            measuring.awaited.insert(client.clone());
        }
        self.stop_gathering_if_enough();
    }

    /// Who measures is known once as many are here as the run waits for.
    pub(super) fn stop_gathering_if_enough(&mut self) {
        let Some(evaluate) = self.settings.evaluate else { return };
        let has_clients = !evaluate.clients || self.roster.n_clients() >= self.needed();
        let has_evaluator = !evaluate.central || self.roster.evaluators().next().is_some();
        if has_clients && has_evaluator {
            self.measuring.iter_mut().for_each(|measuring| measuring.gathers = false);
        }
    }

    pub(super) fn evaluated(&mut self, client: &ClientId, ticket: Ticket) {
        if let Some(measuring) = self.measuring.iter_mut().find(|measuring| measuring.ticket() == ticket) {
            measuring.awaited.remove(client);
        }
    }

    /// Reports in the order of versions: a later evaluation that is over waits for an earlier one.
    pub(super) fn report_measured(&mut self, effects: &mut Vec<Effect>) {
        let n_over = self.measuring.iter().take_while(|measuring| measuring.is_over()).count();
        effects.extend(self.measuring.drain(..n_over).map(|measuring| Effect::Publish(measuring.report)));
    }
}

/// The reports of all commits that no rollback took back, oldest first.
fn reports(rows: &[Recorded]) -> Vec<(Round, Version, Report)> {
    let mut reports: Vec<(Round, Version, Report)> = Vec::new();
    let (mut began, mut n_accepted) = (Time::ZERO, 0);
    for recorded in rows {
        match recorded.row {
            Row::RoundOpened { .. } => (began, n_accepted) = (recorded.at, 0),
            Row::UpdateAccepted { .. } => n_accepted += 1,
            Row::RolledBack { version: to } => reports.retain(|(_, version, _)| *version <= to),
            Row::ModelCommitted { ticket: ticket @ Ticket::Train { round, .. }, version, digest, weight } => {
                let (clients, opened, committed) = (n_accepted, began, recorded.at);
                let report = Report::Finished { ticket, version, clients, weight, digest, opened, committed };
                reports.push((round, version, report));
            }
            Row::ModelCommitted { .. }
            | Row::RoundAborted { .. }
            | Row::RoundClosing { .. }
            | Row::RunCreated { .. } => {}
        }
    }
    reports
}
