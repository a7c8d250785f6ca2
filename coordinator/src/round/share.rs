//! The largest share of a round's weight that one client may have.

/// A share above 0, up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightShare(f64);

impl WeightShare {
    /// `share`, if it is above 0 and at most 1.
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        (share > 0.0 && share <= 1.0).then_some(Self(share))
    }

    /// The share itself.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether a cohort of so many can keep it: of fewer than its inverse, even equal updates have more each.
    #[must_use]
    pub fn suits(self, cohort: usize) -> bool {
        self.allows(1, cohort as u64)
    }

    /// The most that one update may weigh, where the cohort's clients announced `weights`: the largest c with
    /// c ≤ share · Σ min(n, c). A client that announces more than the others do gets that share, whatever it says; at 1 all
    /// updates weigh the same, which is as even as a cohort too small for the share can be.
    ///
    /// It does not depend on which updates come, nor on their order: those that do not come leave the others with more.
    pub(super) fn weight_max(self, weights: &[u64]) -> u64 {
        let holds = |most: u64| self.allows(most, weights.iter().map(|weight| weight.min(&most)).sum());
        let (mut low, mut high) = (1, weights.iter().copied().max().unwrap_or(0).max(1));
        // Σ min(n, c) is concave in c and 0 at 0: whatever holds for a number holds for all below it.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if holds(middle) { low = middle } else { high = middle - 1 }
        }
        low
    }

    /// Whether `one` is at most this share of `all`. A share is rarely exact in binary: a tenth of 70 is meant to be 7.
    #[expect(clippy::cast_precision_loss, reason = "weights are rounded far more finely than the tolerance")]
    fn allows(self, one: u64, all: u64) -> bool {
        const TOLERANCE: f64 = 1e-12;
        one as f64 <= self.0 * all as f64 * (1.0 + TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(share: f64, weights: &[u64], expected: u64) {
        let share = WeightShare::new(share).unwrap();
        assert_eq!(share.weight_max(weights), expected, "{share:?} of {weights:?}");
    }

    /// What goes wrong without it: a client that states a large number decides alone what the round learns.
    #[test]
    fn the_most_that_an_update_may_weigh_is_its_share_of_what_all_may_weigh() {
        // Nobody is above its share.
        check(0.5, &[10, 10, 10], 10);
        check(0.1, &[7; 10], 7);
        check(1.0, &[1, 1_000_000], 1_000_000);
        // c ≤ (c + 30) / 4, and so c ≤ 10; c ≤ (c + 20) / 2, and so c ≤ 20.
        check(0.25, &[10, 10, 10, 1 << 32], 10);
        check(0.5, &[10, 10, 1 << 32], 20);
        // Two that say too much: c ≤ 0.4 · (2 c + 10), and so c ≤ 20.
        check(0.4, &[1 << 32, 10, 1 << 31], 20);
        // No cohort of three can keep it.
        check(0.3, &[10, 10, 1000], 1);
        check(0.3, &[], 1);
        check(0.5, &[0, 0, 0], 1);
        check(0.5, &[0, 5, 9], 5);
    }

    #[test]
    fn it_is_the_largest_number_that_holds() {
        for seed in 1_u64..200 {
            let weights: Vec<u64> = (1..=8).map(|index| (seed * index * index * 7919) % 1000).collect();
            let share = WeightShare::new(0.05 + (seed % 19) as f64 * 0.05).unwrap();
            let holds = |most: &u64| share.allows(*most, weights.iter().map(|weight| *weight.min(most)).sum());
            let largest = (1..=1000).filter(holds).max().unwrap_or(1);
            let most = *weights.iter().max().unwrap();
            assert_eq!(share.weight_max(&weights), largest.min(most), "{share:?} of {weights:?}");
        }
    }

    #[test]
    fn shares_have_bounds_and_small_cohorts_cannot_keep_them() {
        assert_eq!([0.0, -1.0, 1.1, f64::NAN].map(WeightShare::new), [None; 4]);
        let share = WeightShare::new(0.1).unwrap();
        assert!(share.suits(10) && !share.suits(9));
    }
}
