//! What must hold after every step. The rest of the ten invariants speaks about sequences of effects; the tests' checker
//! watches those from outside.

use super::phase::Collecting;
use super::{Machine, Phase, Slot};
use tributary_common::time::Time;

impl Machine {
    /// Panics if the state at `now`, right after a step, is one that our own code must never reach.
    pub fn assert_invariants(&self, now: Time) {
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
        assert!(self.wake_at().is_none_or(|at| at > now), "I8: the next wake is later than now");
        assert_eq!(self.round.0, self.version.0 + 1, "I3: one version a round");
    }

    fn assert_round(&self, round: &Collecting) {
        let size = self.settings.cohort.of(usize::MAX / 2);
        assert!(round.places.len() <= size, "I4: the cohort is at most the target");
        assert!(round.places.is_sorted_by(|a, b| a.client < b.client), "one slot for each client");
        let folded = round.places.iter().filter_map(|place| match place.slot {
            Slot::Folded { weight, .. } => Some(weight),
            _ => None,
        });
        let (n_folded, weight) = folded.fold((0, 0), |(n, sum), weight| (n + 1, sum + weight));
        assert_eq!((n_folded, weight), (round.n_folded, round.weight), "I7: the weight is that of the folded updates");
        let n_terminal = round.places.iter().filter(|place| place.slot.is_terminal()).count();
        assert_eq!(n_terminal, round.n_terminal, "the count of terminal slots is right");
    }
}
