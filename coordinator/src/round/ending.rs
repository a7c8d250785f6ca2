//! From anywhere to `Done`, and what is said after it.

use super::phase::Phase;
use super::{Effect, Event, Machine, Reason};
#[cfg(test)]
use crate::planted::Bug;

impl Machine {
    /// Ends the run, or pauses it. What was accepted stays accepted, its rows are written.
    pub(super) fn stop(&mut self, reason: Reason, effects: &mut Vec<Effect>) {
        let is_pause = reason.is_pause();
        #[cfg(test)]
        if is_pause && Bug::PauseCancels.is_planted() {
            self.cancel_round(&reason.to_string(), effects);
        }
        if is_pause {
            // Nothing is cancelled: clients go on with what they have begun and keep what they have finished, because the
            // next process waits for it. What was not measured before a pause is measured, and told, after it.
            self.report_measured(effects);
            self.measuring.clear();
        } else {
            // A run ends between two rounds; at most it is still being measured.
            let why = reason.to_string();
            self.measuring.iter_mut().for_each(|measuring| measuring.give_up(&why, effects));
            self.report_measured(effects);
        }
        self.retry_at = None;
        self.patience_until = None;
        self.waiting.clear();
        self.phase = Phase::Done { reason: reason.clone() };
        effects.push(Effect::Stop { reason });
    }

    /// Cancels every offer of the open round that has not ended: the bug that throws away what clients have done.
    #[cfg(test)]
    fn cancel_round(&self, why: &str, effects: &mut Vec<Effect>) {
        let Phase::Collecting(round) = &self.phase else { return };
        if !round.is_open {
            return;
        }
        effects.extend(round.places.iter().filter(|place| !place.slot.is_terminal()).map(|place| Effect::Cancel {
            client: place.client.clone(),
            ticket: round.ticket,
            reason: why.to_owned(),
        }));
    }

    /// After the end: whoever still comes is told so. The shell goes on serving the final model.
    pub(super) fn goodbye(&self, event: Event, reason: Reason, effects: &mut Vec<Effect>) {
        match event {
            Event::Joined { client, .. } => effects.push(Effect::Goodbye { client, reason }),
            // An update that comes during a pause is the next process's to judge: its client keeps it.
            Event::Staged { .. } | Event::Refused { .. } if reason.is_pause() => {}
            Event::Staged { client, ticket, .. } | Event::Refused { client, ticket, .. } => {
                effects.push(Effect::Discard { client, ticket, reason: reason.to_string() });
            }
            Event::Appended { .. }
            | Event::Closed { .. }
            | Event::Committed { .. }
            | Event::Evaluated { .. }
            | Event::Left { .. }
            | Event::Postponed { .. }
            | Event::Progress { .. }
            | Event::Revoked { .. }
            | Event::StopAsked
            | Event::StoreFailed { .. }
            | Event::TargetReached
            | Event::TaskAccepted { .. }
            | Event::TaskDeclined { .. }
            | Event::Wake => {}
        }
    }
}
