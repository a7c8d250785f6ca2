//! What must hold after every step. The rest of the ten invariants speaks about sequences of effects; the tests' checker
//! watches those from outside.

use super::phase::Collecting;
use super::{CohortSize, Machine, Phase, Slot, WEIGHT_SUM_MAX};
use tributary_common::time::Time;

impl Machine {
    /// Panics if the state after a step is one that our own code must never reach.
    pub fn assert_invariants(&self) {
        match &self.phase {
            Phase::Collecting(round) => self.assert_round(round),
            Phase::Closing(round) | Phase::Committing(round) => {
                self.assert_round(round);
                assert_eq!(round.n_terminal, round.places.len(), "I5: a closing round has no open slot");
            }
            Phase::Done { .. } => assert!(self.measuring.is_empty(), "I6: nothing is measured after the end"),
            Phase::Idle => {}
        }
        if let Phase::Committing(round) = &self.phase {
            assert!(round.n_folded >= round.quorum, "I10: no commit below quorum");
        }
        assert_eq!(self.round.0, self.version.0 + 1, "I3: one version a round");
        assert!(self.measuring.len() <= 2, "at most one older version is measured beside the last one");
    }

    /// Panics if the timer that rings at `now` was not set anew by the [`Event::Wake`](super::Event::Wake) that it gave: a
    /// driver would be woken for nothing, for ever. A driver that is late may give other events in between.
    pub fn assert_woken(&self, now: Time) {
        assert!(self.wake_at().is_none_or(|at| at > now), "I8: the next wake is later than now");
    }

    fn assert_round(&self, round: &Collecting) {
        assert!(round.places.len() <= round.target, "I4: the cohort is at most the target");
        if let CohortSize::Number(number) = self.settings.cohort {
            assert!(round.target <= number, "I4: the target is at most the run file's number");
        }
        assert!(round.places.is_sorted_by(|a, b| a.client < b.client), "one slot for each client");
        let (mut n_folded, mut weight, mut weight_accepted, mut n_open, mut n_terminal) = (0, 0, 0, 0, 0);
        for place in &round.places {
            match place.slot {
                Slot::Folded { weight: one, .. } => {
                    assert!(round.weight_max.is_none_or(|most| one <= most), "an update weighs no more than its share");
                    n_folded += 1;
                    weight += one;
                    weight_accepted += one;
                }
                Slot::Staged { weight: one, .. } => weight_accepted += one,
                Slot::Away
                | Slot::Declined(_)
                | Slot::Lost(_)
                | Slot::Offered
                | Slot::Postponed(_)
                | Slot::Training => {}
            }
            n_open += usize::from(place.slot.is_open());
            n_terminal += usize::from(place.slot.is_terminal());
        }
        assert_eq!((n_folded, weight), (round.n_folded, round.weight), "I7: the weight is that of the folded updates");
        assert_eq!((n_open, n_terminal), (round.n_open, round.n_terminal), "the counts of slots are right");
        assert_eq!(weight_accepted, round.weight_accepted, "the weight to come is that of the staged updates");
        assert!(weight_accepted <= WEIGHT_SUM_MAX, "the sum of weights is exact in a double");
    }
}
