//! `random`: uniform without replacement, seeded (McMahan et al. 2017, algorithm 1: "random set of m clients").

use std::collections::BTreeSet;

use tributary_common::config::Row;
use tributary_common::id::{Attempt, Round, Seed};
use tributary_common::rng::{self, Purpose};

use super::Selector;

pub(super) const ROW: Row<Selector> =
    Row { name: "random", help: "every cohort of the wanted size is equally likely", parse: |_| Ok(Selector::Random) };

/// R. Floyd's sampling (Bentley and Floyd 1987): one draw per member, no memory for those not chosen.
pub(super) fn choose(population: usize, size: usize, seed: Seed, round: Round, attempt: Attempt) -> Vec<usize> {
    if size >= population {
        return (0..population).collect();
    }
    let mut stream = rng::stream(seed, round, None, Purpose::Selection(attempt));
    let mut chosen = BTreeSet::new();
    for last in population - size..population {
        let drawn = usize::try_from(stream.below(last as u64 + 1)).expect("not above `last`, which is a usize");
        if !chosen.insert(drawn) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cohorts_have_their_size_and_depend_on_round_and_attempt() {
        let of = |round, attempt| choose(1_000_000, 100, Seed(1), Round(round), Attempt(attempt));
        let cohort = of(1, 0);
        assert_eq!(cohort.len(), 100);
        assert!(cohort.is_sorted() && cohort[99] < 1_000_000);
        assert_eq!(cohort, of(1, 0));
        assert_ne!(cohort, of(2, 0));
        assert_ne!(cohort, of(1, 1));
        assert_eq!(choose(3, 9, Seed(1), Round(1), Attempt(0)), [0, 1, 2]);
    }

    #[test]
    fn everybody_is_chosen_equally_often() {
        let mut counts = [0_i32; 10];
        for round in 0..2000 {
            for index in choose(10, 3, Seed(7), Round(round), Attempt(0)) {
                counts[index] += 1;
            }
        }
        // Binomial(2000, 0.3): mean 600, five standard deviations 103.
        assert!(counts.iter().all(|count| (count - 600).abs() < 103), "{counts:?}");
    }
}
