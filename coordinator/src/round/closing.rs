//! From `Collecting` over `Closing` and `Committing` back to `Idle`.

use tributary_common::Digest;
use tributary_common::id::{Ticket, Version};
use tributary_common::time::Time;

use super::effect::Fate;
use super::machine::After;
use super::phase::Phase;
use super::settings::{ATTEMPTS_MAX, RETRY_AFTER};
use super::settled::Settled;
use super::slot::{Loss, Slot};
use super::{Effect, Machine, Reason, Report, Row};
#[cfg(test)]
use crate::planted::Bug;

impl Machine {
    /// Time has come: whoever has not answered is given up.
    pub(super) fn wake(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for measuring in self.measuring.iter_mut().filter(|measuring| measuring.deadline <= now) {
            measuring.give_up("the evaluation's deadline is over", effects);
        }
        let Phase::Collecting(round) = &mut self.phase else { return };
        if !round.is_open || round.deadline > now {
            return;
        }
        for index in 0..round.places.len() {
            let slot = &round.places[index].slot;
            if slot.is_open() {
                let loss = match slot {
                    Slot::Postponed(reason) => Loss::NotTaken(reason.clone()),
                    _ => Loss::Late,
                };
                round.set(index, Slot::Lost(loss), now);
                let (client, ticket) = (round.places[index].client.clone(), round.ticket);
                effects.push(Effect::Cancel { client, ticket, reason: "the deadline is over".to_owned() });
            }
        }
    }

    /// Closes a round of which nothing more can come. Only now the quorum is looked at.
    pub(super) fn close_if_complete(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Collecting(round) = &self.phase else { return };
        if !round.is_open || round.n_terminal < round.places.len() {
            return;
        }
        let Phase::Collecting(round) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            unreachable!("it was collecting a line ago")
        };
        let fates = round.places.iter().map(|place| Fate {
            client: place.client.clone(),
            slot: place.slot.clone(),
            ended: place.ended,
        });
        let (ticket, opened) = (round.ticket, round.opened);
        effects.push(Effect::Publish(Report::Closed { ticket, opened, fates: fates.collect() }));
        let is_enough = round.n_folded >= round.quorum;
        #[cfg(test)]
        let is_enough = is_enough || (Bug::CommitBelowQuorum.is_planted() && round.n_folded > 0);
        if is_enough {
            self.append(Row::RoundClosing { ticket }, After::Close, effects);
        } else {
            let row = Row::RoundAborted { ticket, missing: round.missing() };
            #[cfg(test)]
            let row = if Bug::AbortUnwritten.is_planted() { Row::RoundClosing { ticket } } else { row };
            self.append(row, After::Abort, effects);
        }
        self.phase = Phase::Closing(round);
    }

    pub(super) fn aborted(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Phase::Closing(round) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            unreachable!("only a closing round aborts")
        };
        let (missing, is_postponed) = (round.missing(), round.has_not_taken());
        effects.push(Effect::Drop { ticket: round.ticket });
        #[cfg(test)]
        effects.pop_if(|_| Bug::AbortedSumKept.is_planted());
        effects.push(Effect::Publish(Report::Aborted { ticket: round.ticket, missing: missing.clone() }));
        self.attempt = self.attempt.next();
        self.n_failed += 1;
        if self.n_failed >= ATTEMPTS_MAX {
            // What the coordinator cannot take is for its operator to mend: the run waits for that, and so do the clients.
            let reason = match is_postponed {
                true => Reason::Postponed { missing },
                false => Reason::QuorumMissed { missing },
            };
            return self.stop(reason, effects);
        }
        self.retry_at = Some(now + RETRY_AFTER * (1 << (self.n_failed - 1)));
    }

    pub(super) fn begin_closing(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Closing(round) = &mut self.phase else { unreachable!("only a closing appends `RoundClosing`") };
        round.is_asked = true;
        effects.push(Effect::Close { ticket: round.ticket });
    }

    /// The sum is complete. The commit follows from the state: it may have to wait for an older evaluation.
    pub(super) fn closed(&mut self, ticket: Ticket) {
        if let Phase::Closing(round) = &mut self.phase
            && round.is_asked
            && round.ticket == ticket
        {
            round.is_asked = false;
            if let Phase::Closing(round) = std::mem::replace(&mut self.phase, Phase::Idle) {
                self.phase = Phase::Committing(round);
            }
        }
    }

    /// Asks for the next version as soon as no version but the last one is being measured: at most one older model is kept
    /// in memory.
    pub(super) fn commit_if_free(&mut self, effects: &mut Vec<Effect>) {
        let is_free = self.measuring.iter().all(|measuring| measuring.version == self.version);
        if let Phase::Committing(round) = &mut self.phase
            && !round.is_asked
            && is_free
        {
            round.is_asked = true;
            let version = next_version(self.version);
            effects.push(Effect::Commit { ticket: round.ticket, version, weight: round.weight });
        }
    }

    pub(super) fn committed(&mut self, version: Version, digest: Digest, effects: &mut Vec<Effect>) {
        let next = next_version(self.version);
        let Phase::Committing(round) = &mut self.phase else { return };
        if !round.is_asked || version != next || round.built.is_some() {
            return;
        }
        let (ticket, weight) = (round.ticket, round.weight);
        round.built = Some(digest);
        self.append(Row::ModelCommitted { ticket, version, digest, weight }, After::Commit, effects);
    }

    /// The commit is durable: the world may know.
    pub(super) fn publish(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Phase::Committing(round) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            unreachable!("only a committing round appends `ModelCommitted`")
        };
        self.version = next_version(self.version);
        self.settled = Some(Settled::of_round(&round));
        self.measure(now, &round, effects);
        self.round = self.round.next();
        self.attempt = self.first_attempt(self.round);
        self.n_failed = 0;
    }
}

/// The version that a commit makes.
fn next_version(version: Version) -> Version {
    #[cfg(test)]
    if Bug::VersionSkipped.is_planted() {
        return Version(version.0 + 2);
    }
    version.next()
}
