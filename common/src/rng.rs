//! Named streams of randomness: the only source of random numbers in the product, key material and tokens aside.
//!
//! A stream is keyed by what it is for, not by when it is drawn, so the order of work, the number of threads and a restart
//! change nothing. Generator: `ChaCha8` (D. J. Bernstein, 2008, eight rounds); key: BLAKE3 in key-derivation mode over seed,
//! round, attempt, client and purpose.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::id::{Attempt, ClientId, Round, Seed};

/// What a stream is for. Only [`Purpose::Selection`] and [`Purpose::Noise`] take the attempt into their key: a retry must
/// not change the training, and must not reuse privacy noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// How long a client waits before it connects again.
    Backoff,
    /// The order of examples in local training.
    Batches,
    /// Dropout masks.
    Dropout,
    /// The centres of the classes of synthetic examples.
    ExampleCentres,
    /// The classes of synthetic examples, in the order of rows.
    ExampleLabels,
    /// The noise of one synthetic example; keyed by its row.
    ExampleNoise(u32),
    /// Simulated faults, delays and losses.
    Faults,
    /// Splitting a client's examples into training and held-out ones.
    Holdout,
    /// Initial weights.
    Init,
    /// Privacy noise; keyed by the attempt.
    Noise(Attempt),
    /// Dealing examples to clients.
    Partition,
    /// Choosing a cohort; keyed by the attempt.
    Selection(Attempt),
}

impl Purpose {
    /// The kind, unique, and what else belongs to the key.
    const fn tag(self) -> (u8, u32) {
        match self {
            Self::Backoff => (9, 0),
            Self::Batches => (1, 0),
            Self::Dropout => (2, 0),
            Self::ExampleCentres => (12, 0),
            Self::ExampleLabels => (13, 0),
            Self::ExampleNoise(row) => (14, row),
            Self::Faults => (3, 0),
            Self::Holdout => (4, 0),
            Self::Init => (5, 0),
            Self::Noise(attempt) => (6, attempt.0),
            Self::Partition => (7, 0),
            Self::Selection(attempt) => (8, attempt.0),
        }
    }
}

/// A stream of random numbers with the few distributions that the product draws from.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

/// The stream of `seed` for `purpose` in `round` at `client`. What belongs to no client (`None`) or to no round
/// (`Round(0)`) says so.
#[must_use]
pub fn stream(seed: Seed, round: Round, client: Option<&ClientId>, purpose: Purpose) -> Stream {
    let (tag, more) = purpose.tag();
    let mut hasher = blake3::Hasher::new_derive_key("tributary 2026 stream of randomness");
    hasher.update(&seed.0.to_le_bytes());
    hasher.update(&round.0.to_le_bytes());
    hasher.update(&[tag]);
    hasher.update(&more.to_le_bytes());
    hasher.update(&[u8::from(client.is_some())]);
    hasher.update(client.map_or("", ClientId::as_str).as_bytes());
    Stream(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
}

impl Stream {
    /// Uniform over all 64-bit numbers.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)` with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let mantissa = (self.0.next_u64() >> 11) as f64;
        mantissa / 9_007_199_254_740_992.0
    }

    /// Uniform in `0..n` without bias (Lemire, "Fast Random Integer Generation in an Interval", 2019). `n` must not be 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "an empty range has no numbers");
        let mut product = u128::from(self.0.next_u64()) * u128::from(n);
        let threshold = n.wrapping_neg() % n;
        while low(product) < threshold {
            product = u128::from(self.0.next_u64()) * u128::from(n);
        }
        u64::try_from(product >> 64).expect("the high half of a product fits 64 bits")
    }

    /// A permutation of `items` in place, every one equally likely (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1);
            items.swap(i, usize::try_from(j).expect("not above i, which is a usize"));
        }
    }

    /// Standard normal (Box and Muller 1958, the cosine branch only, so that a draw is always two words of the stream).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// Gamma with shape `alpha > 0` and scale 1 (Marsaglia and Tsang 2000; below 1 by their boost).
    pub fn gamma(&mut self, alpha: f64) -> f64 {
        self.log_gamma(alpha).unwrap_or_else(libm::exp)
    }

    /// Gamma with shape `alpha`: the value, or below 1 its logarithm, because a small shape underflows.
    fn log_gamma(&mut self, alpha: f64) -> Result<f64, f64> {
        assert!(alpha > 0.0, "gamma needs a positive shape");
        if alpha < 1.0 {
            let boost = libm::log(1.0 - self.uniform()) / alpha;
            let base = self.log_gamma(alpha + 1.0).expect("a shape above 1 yields the value");
            return Err(libm::log(base) + boost);
        }
        let d = alpha - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let root = 1.0 + c * x;
            let v = root * root * root;
            if v > 0.0 && libm::log(1.0 - self.uniform()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return Ok(d * v);
            }
        }
    }

    /// One draw of Dirichlet with concentrations `alpha`; sums to 1. Computed over logarithms, so tiny concentrations do
    /// not end as 0/0.
    pub fn dirichlet(&mut self, alpha: &[f64]) -> Vec<f64> {
        let logs: Vec<f64> = alpha.iter().map(|&a| self.log_gamma(a).map_or_else(|ln| ln, libm::log)).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs.iter().map(|ln| libm::exp(ln - top)).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|w| w / total).collect()
    }
}

fn low(product: u128) -> u64 {
    u64::try_from(product & u128::from(u64::MAX)).expect("masked to 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(purpose: Purpose) -> Stream {
        stream(Seed(1), Round(2), Some(&ClientId::simulated(3, 10)), purpose)
    }

    #[test]
    fn streams_of_different_keys_differ_and_same_keys_agree() {
        assert_eq!(of(Purpose::Batches).next_u64(), of(Purpose::Batches).next_u64());
        assert_ne!(of(Purpose::Batches).next_u64(), of(Purpose::Dropout).next_u64());
        assert_ne!(of(Purpose::Selection(Attempt(0))).next_u64(), of(Purpose::Selection(Attempt(1))).next_u64());
        let other = stream(Seed(1), Round(3), Some(&ClientId::simulated(3, 10)), Purpose::Batches).next_u64();
        assert_ne!(of(Purpose::Batches).next_u64(), other);
    }

    /// A changed generator silently changes every published result.
    #[test]
    fn first_numbers_are_pinned() {
        let mut stream = stream(Seed(1), Round(0), None, Purpose::Init);
        let first = [stream.next_u64(), stream.next_u64()];
        assert_eq!(first, PINNED);
    }
    const PINNED: [u64; 2] = [12_725_866_587_297_249_046, 18_007_946_839_749_266_171];

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut stream = of(Purpose::Init);
        let n = 20_000_u32;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        // Five standard errors of each mean at this n.
        assert!((mean(&mut || stream.uniform()) - 0.5).abs() < 0.0103);
        assert!(mean(&mut || stream.normal()).abs() < 0.0354);
        assert!((mean(&mut || stream.normal().powi(2)) - 1.0).abs() < 0.05);
        assert!((mean(&mut || stream.gamma(3.0)) - 3.0).abs() < 0.0613);
        assert!((mean(&mut || stream.gamma(0.5)) - 0.5).abs() < 0.025);
        assert!((mean(&mut || stream.dirichlet(&[0.1, 0.3])[0]) - 0.25).abs() < 0.013);
    }

    #[test]
    fn tiny_concentrations_still_sum_to_one() {
        let p = of(Purpose::Partition).dirichlet(&[1e-4; 10]);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn shuffle_is_a_permutation_and_below_stays_below() {
        let mut stream = of(Purpose::Batches);
        let mut items: Vec<u32> = (0..100).collect();
        stream.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        assert!((0..1000).all(|_| stream.below(7) < 7));
    }
}
