//! From anywhere to `Done`, and what is said after it.

use super::phase::Phase;
use super::{Effect, Event, Machine, Reason};

impl Machine {
    /// Ends the run. Every offer that is out is cancelled; what was accepted stays accepted, its rows are written.
    pub(super) fn stop(&mut self, reason: Reason, effects: &mut Vec<Effect>) {
        let why = reason.to_string();
        if let Phase::Collecting(round) = &self.phase
            && round.is_open
        {
            effects.extend(round.places.iter().filter(|place| !place.slot.is_terminal()).map(|place| Effect::Cancel {
                client: place.client.clone(),
                ticket: round.ticket,
                reason: why.clone(),
            }));
        }
        let goes_on = matches!(reason, Reason::StoreFailed { .. } | Reason::Suspended);
        if goes_on {
            self.report_measured(effects);
        }
        for measuring in &mut self.measuring {
            measuring.give_up(&why, effects);
        }
        // What was not measured before a pause is measured, and told, after it.
        if goes_on {
            self.measuring.clear();
        }
        self.report_measured(effects);
        self.retry_at = None;
        self.patience_until = None;
        self.waiting.clear();
        self.phase = Phase::Done { reason: reason.clone() };
        effects.push(Effect::Stop { reason });
    }

    /// After the end: whoever still comes is told so. The shell goes on serving the final model.
    pub(super) fn goodbye(&self, event: Event, reason: Reason, effects: &mut Vec<Effect>) {
        match event {
            Event::Joined { client, .. } => effects.push(Effect::Goodbye { client, reason }),
            Event::Staged { client, ticket, .. } | Event::Refused { client, ticket, .. } => {
                effects.push(Effect::Discard { client, ticket, reason: reason.to_string() });
            }
            Event::Appended { .. }
            | Event::Closed { .. }
            | Event::Committed { .. }
            | Event::Evaluated { .. }
            | Event::Left { .. }
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
