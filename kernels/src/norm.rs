//! What the normalisations share: the moments of a row, and sums over it.
//!
//! Sums run in double precision over a fixed number of lanes, so that their result depends neither on the vector unit
//! nor, noticeably, on the length of the row. The backward passes compute the moments again rather than be given them:
//! the row is read anyway, and nothing has to be kept between the passes.

use crate::real::Real;

/// Partial sums that run beside each other: two registers of eight doubles hide the latency of an addition.
const LANES: usize = 16;

/// Mean and 1/√(variance + ε) of a row, the variance being the biased one (÷ n).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments<T> {
    mean: T,
    scale: T,
}

impl<T: Real> Moments<T> {
    /// Two passes: a single one would lose the variance of a row whose mean is large.
    #[inline(always)]
    pub(crate) fn of(x: &[T], epsilon: f64) -> Self {
        let n = x.len() as f64;
        let [mean] = sum([x], |[x]| [x]).map(|sum| sum / n);
        let [variance] = sum([x], |[x]| [(x - mean) * (x - mean)]).map(|sum| sum / n);
        Self { mean: T::from_f64(mean), scale: T::from_f64(1.0 / (variance + epsilon).sqrt()) }
    }

    /// No mean, and 1/√(mean of squares + ε).
    #[inline(always)]
    pub(crate) fn around_zero(x: &[T], epsilon: f64) -> Self {
        let [square] = sum([x], |[x]| [x * x]).map(|sum| sum / x.len() as f64);
        Self { mean: T::ZERO, scale: T::from_f64(1.0 / (square + epsilon).sqrt()) }
    }

    /// The normalised value.
    #[inline(always)]
    pub(crate) fn normalised(self, x: T) -> T {
        (x - self.mean) * self.scale
    }

    /// The same in double precision, for sums.
    #[inline(always)]
    pub(crate) fn normalised_f64(self, x: f64) -> f64 {
        (x - self.mean.to_f64()) * self.scale.to_f64()
    }

    /// The gradient of `x` of which `g` is that of the normalised value, with the means over the row of g and of
    /// g·x̂: (g − mean(g) − x̂ · mean(g·x̂)) / σ (Ba et al. 2016, and Ioffe and Szegedy 2015, section 3).
    #[inline(always)]
    pub(crate) fn before(self, x: T, g: T, [mean_g, mean_gx]: [T; 2]) -> T {
        self.scale * (g - mean_g - self.normalised(x) * mean_gx)
    }
}

/// M sums over N rows of the same length, `term` by `term`.
#[inline(always)]
pub(crate) fn sum<T: Real, const N: usize, const M: usize>(
    rows: [&[T]; N],
    term: impl Fn([f64; N]) -> [f64; M],
) -> [f64; M] {
    let len = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == len), "rows that are summed together have the same length");
    let mut lanes = [[0.0; LANES]; M];
    // Blocks of a fixed size, so that the loop over lanes has no check in it and becomes a few vector additions.
    let blocks = rows.map(|row| row.as_chunks::<LANES>());
    for at in 0..len / LANES {
        let block = blocks.map(|(whole, _)| whole[at]);
        for lane in 0..LANES {
            let terms = term(block.map(|values| values[lane].to_f64()));
            for m in 0..M {
                lanes[m][lane] += terms[m];
            }
        }
    }
    for lane in 0..len % LANES {
        let terms = term(blocks.map(|(_, rest)| rest[lane].to_f64()));
        for m in 0..M {
            lanes[m][lane] += terms[m];
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, values};

    #[test]
    fn sums_of_odd_lengths_count_every_value_once() {
        for len in [0, 1, 15, 16, 17, 47, 48, 100] {
            let (a, b) = (values(1, len), values(2, len));
            let got = sum([&a[..], &b[..]], |[a, b]| [a * b, a]);
            let expected = [a.iter().zip(&b).map(|(a, b)| a * b).sum(), a.iter().sum()];
            assert_close(&got, &expected, 1e-13);
        }
    }

    /// In a single pass, by Σx² − (Σx)²/n, nothing would be left of this row's variance in single precision.
    #[test]
    fn a_large_mean_does_not_swallow_the_variance() {
        let x: Vec<f32> = (0..64).map(|i| 4096.0 + (i % 2) as f32).collect();
        let moments = Moments::of(&x, 0.0);
        let normalised: Vec<f64> = x.iter().map(|&x| moments.normalised(x).to_f64()).collect();
        let expected: Vec<f64> = (0..64).map(|i| f64::from(i % 2) * 2.0 - 1.0).collect();
        assert_close(&normalised, &expected, 1e-6);
    }
}
