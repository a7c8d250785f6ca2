//! Going on from the rows of an earlier process, inside the round that it left open.

use std::collections::BTreeMap;

use tributary_common::id::{Attempt, Round, Ticket, Version};
use tributary_common::time::Time;

use super::opening::slot_id;
use super::phase::{Collecting, Phase};
use super::settled::Settled;
use super::slot::{Loss, Slot};
use super::{Effect, Machine, Recorded, Roster, Row, Settings};
#[cfg(test)]
use crate::planted::Bug;

impl Machine {
    /// A machine that goes on behind `rows`, whose numbers count from 0. It is then given `Wake` once.
    ///
    /// A round that was open goes on: accepted updates count and are folded again from what the journal kept of them,
    /// because the sum went with the process. The others of the cohort are away until they come back, and the deadline
    /// keeps what was left of it: `now` and the times of the rows are on the run's own clock. The next round waits for all of
    /// `wait_for` again, though no longer than a round may take: who has not come back by then is not coming.
    #[must_use]
    pub fn resume(settings: Settings, roster: Roster, rows: &[Recorded], now: Time, effects: &mut Vec<Effect>) -> Self {
        let last = rows.iter().enumerate().rev().find_map(|(index, recorded)| match recorded.row {
            Row::ModelCommitted { version, .. } | Row::RolledBack { version } => Some((index + 1, version)),
            _ => None,
        });
        let (begin, version) = last.unwrap_or((0, Version(0)));
        let mut machine = Self::at(settings, roster, version, rows.len() as u64);
        machine.settled = Settled::of_rows(&rows[..begin]);
        machine.first_attempts = first_attempts(rows);
        machine.attempt = machine.first_attempt(machine.round);
        for recorded in &rows[begin..] {
            machine.replay(recorded);
        }
        if rows.iter().any(|recorded| matches!(recorded.row, Row::RoundOpened { .. })) {
            machine.patience_until = Some(now + machine.settings.deadline);
        }
        machine.ask_again(now, effects);
        machine
    }

    /// Takes one row behind the last commit.
    fn replay(&mut self, recorded: &Recorded) {
        #[cfg(test)]
        if Bug::AcceptedForgotten.is_planted() && matches!(recorded.row, Row::UpdateAccepted { .. }) {
            return;
        }
        match (&recorded.row, &mut self.phase) {
            (Row::RoundOpened { ticket, cohort, weight_max }, _) => {
                let quorum = self.settings.quorum.of(cohort.len());
                let mut round = Collecting::new(*ticket, cohort, cohort.len(), quorum, recorded.at);
                round.is_open = true;
                round.weight_max = *weight_max;
                #[cfg(test)]
                if Bug::BoundForgotten.is_planted() {
                    round.weight_max = None;
                }
                round.deadline = recorded.at + self.settings.deadline;
                self.phase = Phase::Collecting(round);
            }
            (Row::UpdateAccepted { client, weight, digest, .. }, Phase::Collecting(round)) => {
                let index = round.index(client).expect("the journal's chain holds: only a slot's client was accepted");
                let (weight, digest) = (*weight, *digest);
                round.set(index, Slot::Staged { weight, digest }, recorded.at);
                round.set(index, Slot::Folded { weight, digest }, recorded.at);
            }
            (Row::RoundClosing { .. }, Phase::Collecting(round)) => {
                let mut round = round.clone();
                for index in 0..round.places.len() {
                    // How a slot without an update ended is not in the journal; nothing can come of it any more.
                    if round.places[index].slot.is_open() {
                        round.set(index, Slot::Lost(Loss::Late), recorded.at);
                    }
                }
                self.phase = Phase::Closing(round);
            }
            (Row::RoundAborted { ticket: Ticket::Train { attempt, .. }, .. }, _) => {
                self.attempt = attempt.next();
                self.phase = Phase::Idle;
            }
            (
                Row::ModelCommitted { .. }
                | Row::RoundAborted { .. }
                | Row::RoundClosing { .. }
                | Row::RolledBack { .. }
                | Row::RunCreated { .. }
                | Row::UpdateAccepted { .. },
                _,
            ) => {}
        }
    }

    /// What the shell forgot with the earlier process: the sum, the closing, the offers to those who are here.
    fn ask_again(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(round) = self.phase.round() else { return };
        let ticket = round.ticket;
        for place in &round.places {
            if let Slot::Folded { weight, .. } = place.slot {
                effects.push(Effect::Fold { client: place.client.clone(), ticket, weight });
            }
        }
        match &mut self.phase {
            Phase::Closing(_) => self.begin_closing(effects),
            Phase::Collecting(round) => {
                #[cfg(test)]
                if Bug::DeadlineRestarted.is_planted() {
                    round.deadline = now + self.settings.deadline;
                }
                let (version, left) = (self.version, round.deadline.since(now));
                for index in 0..round.places.len() {
                    let client = &round.places[index].client;
                    if !round.places[index].slot.is_open() {
                        continue;
                    }
                    if self.roster.holds(client) {
                        let (client, slot) = (client.clone(), slot_id(index));
                        effects.push(Effect::Offer { client, ticket, slot, version, left });
                    } else {
                        round.set(index, Slot::Away, now);
                    }
                }
            }
            Phase::Committing(_) | Phase::Done { .. } | Phase::Idle => {}
        }
    }
}

/// The attempts that no rollback took back, by their rounds.
fn first_attempts(rows: &[Recorded]) -> BTreeMap<Round, Attempt> {
    let end = rows.iter().rposition(|recorded| matches!(recorded.row, Row::RolledBack { .. })).unwrap_or(0);
    let opened = rows[..end].iter().filter_map(|recorded| match recorded.row {
        Row::RoundOpened { ticket: Ticket::Train { round, attempt }, .. } => Some((round, attempt.next())),
        _ => None,
    });
    let mut first = BTreeMap::new();
    for (round, attempt) in opened {
        let known = first.entry(round).or_insert(attempt);
        *known = attempt.max(*known);
    }
    first
}
