//! Each client's own held-out examples: drawn from its seed stream, so the same in every round and after every restart.

use tributary_common::id::{ClientId, Round, Seed};
use tributary_common::rng::{self, Purpose};

/// A client's examples, each part in ascending order of position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// To train on; at least one where there is any example.
    pub train: Vec<u32>,
    /// To measure on; never trained on.
    pub held_out: Vec<u32>,
}

/// How many of so many examples are held out: `share` of them, rounded down, and never all.
///
/// # Panics
/// If the share is not from 0 to 1; a plan's never is.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most 2^32 examples, and a share of them is not more"
)]
pub fn held_out(examples: usize, share: f64) -> usize {
    assert!((0.0..=1.0).contains(&share), "a share is from 0 to 1");
    ((examples as f64 * share) as usize).min(examples.saturating_sub(1))
}

/// Holds out `share` of `examples`, rounded down.
///
/// # Panics
/// If the share is not from 0 to 1; a plan's never is.
#[must_use]
pub fn split(examples: &[u32], share: f64, seed: Seed, client: &ClientId) -> Split {
    let count = held_out(examples.len(), share);
    let mut positions: Vec<usize> = (0..examples.len()).collect();
    rng::stream(seed, Round(0), Some(client), Purpose::Holdout).shuffle(&mut positions);
    let mut is_held_out = vec![false; examples.len()];
    positions[..count].iter().for_each(|&position| is_held_out[position] = true);
    let part = |wanted: bool| {
        examples.iter().zip(&is_held_out).filter(|&(_, &held)| held == wanted).map(|(&example, _)| example).collect()
    };
    Split { train: part(false), held_out: part(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_complete_and_the_same_every_time() {
        let client = ClientId::simulated(1, 10);
        let examples: Vec<u32> = (100..150).collect();
        let once = split(&examples, 0.25, Seed(1), &client);
        assert_eq!((once.train.len(), once.held_out.len()), (38, 12));
        let mut all = [once.train.clone(), once.held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, examples);
        assert_eq!(split(&examples, 0.25, Seed(1), &client), once);
        assert_ne!(split(&examples, 0.25, Seed(1), &ClientId::simulated(2, 10)), once);
    }

    /// A client without training examples would be asked and have nothing to answer.
    #[test]
    fn one_example_is_always_left_to_train_on() {
        let client = ClientId::simulated(1, 10);
        assert_eq!(split(&[7], 0.9, Seed(1), &client), Split { train: vec![7], held_out: vec![] });
        assert_eq!(split(&[], 0.9, Seed(1), &client), Split { train: vec![], held_out: vec![] });
    }
}
