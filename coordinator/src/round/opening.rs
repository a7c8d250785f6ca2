//! From `Idle` to `Collecting`: who is asked, and when.

use tributary_common::id::{ClientId, Slot as SlotId, Ticket};
use tributary_common::time::Time;

use super::machine::After;
use super::phase::{Collecting, Phase};
use super::{Effect, Machine, Reason, Report, Row, Slot};
#[cfg(test)]
use crate::planted::Bug;

/// What a round waits for, so that it is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    joined: usize,
    needed: usize,
    lacks_evaluator: bool,
}

impl Machine {
    /// Opens the next round, ends the run, or says what is missing.
    pub(super) fn open_next(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.retry_at.is_some() || self.measuring.iter().any(|measuring| measuring.blocks && !measuring.gathers) {
            return;
        }
        let is_last = self.target_reached || self.round.0 > self.settings.rounds;
        if is_last && self.measuring.iter().all(|measuring| !measuring.gathers) {
            if self.measuring.is_empty() {
                let reason = if self.target_reached { Reason::Target } else { Reason::Rounds };
                self.stop(reason, effects);
            }
            return;
        }
        let (joined, needed) = (self.roster.n_clients(), self.needed());
        // What is measured centrally is measured from the first round on; an evaluator that leaves later is not missed.
        let central = self.settings.evaluate.is_some_and(|evaluate| evaluate.central);
        let lacks_evaluator = central && !self.has_opened && self.roster.evaluators().next().is_none();
        if joined < needed || lacks_evaluator {
            let waiting = Waiting { joined, needed, lacks_evaluator };
            if self.told_waiting != Some(waiting) {
                self.told_waiting = Some(waiting);
                effects.push(Effect::Publish(Report::Waiting { joined, needed, lacks_evaluator }));
            }
            return;
        }
        if is_last || self.measuring.iter().any(|measuring| measuring.blocks) {
            return;
        }
        self.has_opened = true;
        self.patience_until = None;
        self.told_waiting = None;
        let size = self.settings.cohort.of(joined);
        let quorum = self.settings.quorum.of(size);
        let cohort = self.choose(joined, size);
        let ticket = Ticket::Train { round: self.round, attempt: self.attempt };
        let announced = |client| self.roster.weight(client);
        let share = self.settings.max_weight_share;
        let weight_max = share.map(|share| share.weight_max(&cohort.iter().map(announced).collect::<Vec<_>>()));
        let mut round = Collecting::new(ticket, &cohort, size, quorum, now);
        round.weight_max = weight_max;
        self.phase = Phase::Collecting(round);
        self.append(Row::RoundOpened { ticket, cohort, weight_max }, After::Open, effects);
        #[cfg(test)]
        if Bug::OfferBeforeFsync.is_planted() {
            self.waiting.back_mut().expect("a row was just given out").1 = After::Nothing;
            self.offer_all(now, effects);
        }
    }

    /// How many clients must be here for a round to open.
    pub(super) fn needed(&self) -> usize {
        let quorum = self.settings.quorum.of(self.settings.cohort.of(self.roster.n_clients()));
        let needed = self.settings.cohort.least_joined(quorum);
        if self.has_opened { needed } else { needed.max(self.settings.wait_for) }
    }

    fn choose(&self, joined: usize, size: usize) -> Vec<ClientId> {
        let chosen = self.settings.selector.choose(joined, size, self.settings.seed, self.round, self.attempt);
        self.roster.pick(&chosen)
    }

    /// The opening is durable: the offers go out, and the deadline counts from now.
    pub(super) fn offer_all(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Phase::Collecting(round) = &mut self.phase else { unreachable!("only an opening appends `RoundOpened`") };
        if self.target_reached {
            // The report that told so went out just before the opening's row: nobody was asked for anything yet.
            self.phase = Phase::Idle;
            return;
        }
        round.is_open = true;
        round.opened = now;
        round.deadline = now + self.settings.deadline;
        for (index, place) in round.places.iter().enumerate().filter(|(_, place)| place.slot == Slot::Offered) {
            effects.push(Effect::Offer {
                client: place.client.clone(),
                ticket: round.ticket,
                slot: slot_id(index),
                version: self.version,
                left: self.settings.deadline,
            });
        }
    }
}

pub(super) fn slot_id(index: usize) -> SlotId {
    SlotId(u32::try_from(index).expect("cohorts are below 2^32"))
}
