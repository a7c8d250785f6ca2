//! The fold: adding one weighted update to the exact integer sum, and the bound that makes it safe.
//!
//! Every coordinate is scaled by a power of two, rounded to an integer with ties to even, multiplied by the
//! update's weight and added. Integers commute, so any order, split or vector width gives the same sum; every
//! path here therefore equals the naive `i128` loop in the tests, bit for bit.
//!
//! Conversions are made of additions and bit patterns instead of casts: a saturating cast does not vectorise
//! below AVX-512DQ, and the rounding instruction is a library call on plain x86-64.
//!
//! Where every product stays below 2^51, which is the common case, doubles hold all of it: see [`fold_small_f32`].
//!
//! Whether a block fits `i64` is not decided here: the sum tracks its own bound by the largest magnitudes.

mod small;

pub use self::small::{TOGETHER, fold_small_f32, fold_small_f64};
use crate::widest::{self, Pass};

/// Largest scale the fold accepts, in bits. With it a coordinate of 2^32 becomes 2^84, which [`fold_wide_f32`] holds.
pub const SCALE_BITS_MAX: u32 = 52;

/// Largest weight of one update. Rounded coordinate (2^84) times weight leaves eleven bits of `i128` for the sum.
pub const WEIGHT_MAX: u64 = 1 << 32;

/// Adding and subtracting 1.5 · 2^52 rounds every |x| ≤ 2^51 to an integer with ties to even, because the sum's
/// last place is worth one. The same sum's bit pattern minus this one's is that integer.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// From 2^51 on the rounder no longer applies: doubles between 2^51 and 2^52 still hold halves.
const ROUNDER_MAX: f64 = 2_251_799_813_685_248.0;

/// Sums below it by magnitude, 2^51, are exact in a double and read by [`mean_small`].
pub const SMALL_MAX: u128 = 1 << 51;

/// What every coordinate of one update is multiplied by, and how large the largest is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    scale: f64,
    n: i64,
    /// Whether every product stays where [`integer`] applies: then doubles hold it exactly and no integer is multiplied.
    is_small: bool,
}

impl Term {
    /// Coordinates are scaled by 2^`bits`, rounded and multiplied by `n`; none exceeds `max` by magnitude.
    ///
    /// # Panics
    /// If `bits` exceeds [`SCALE_BITS_MAX`] or `n` exceeds [`WEIGHT_MAX`].
    #[must_use]
    pub fn new(bits: u32, n: u64, max: f64) -> Self {
        assert!(n <= WEIGHT_MAX, "weight {n} exceeds {WEIGHT_MAX}");
        let scale = power_of_two(bits);
        Self { scale, n: n as i64, is_small: is_small(max, scale, n as f64) }
    }
}

/// 2^bits, exactly.
fn power_of_two(bits: u32) -> f64 {
    assert!(bits <= SCALE_BITS_MAX, "scale of {bits} bits exceeds {SCALE_BITS_MAX}");
    (1_u64 << bits) as f64
}

/// Whether coordinates up to `max` by magnitude, scaled, rounded and weighed by `n` together, stay where [`integer`] applies.
fn is_small(max: f64, scale: f64, n: f64) -> bool {
    // Rounding adds at most a half before the multiplication; the other half is for the rounding of this line.
    (max * scale + 1.0) * n <= ROUNDER_MAX
}

/// Adds `round_ties_even(delta[i] · 2^bits) · n` to every `acc[i]`.
///
/// The caller guarantees finite input within the term's maximum, and that every product and every sum fits `i64`; it knows
/// from the largest coordinate ([`max_abs_f32`]) and the weights so far. Input that breaks this gives a wrong sum, never a
/// panic.
///
/// # Panics
/// If the lengths differ.
pub fn fold_f32(acc: &mut [i64], delta: &[f32], term: Term) {
    fold(acc, delta, term);
}

/// [`fold_f32`] for updates in double precision.
///
/// # Panics
/// If the lengths differ.
pub fn fold_f64(acc: &mut [i64], delta: &[f64], term: Term) {
    fold(acc, delta, term);
}

/// [`fold_f32`] into a widened sum: for finite coordinates up to 2^32 every product fits.
///
/// # Panics
/// If the lengths differ.
pub fn fold_wide_f32(acc: &mut [i128], delta: &[f32], term: Term) {
    fold_wide(acc, delta, term);
}

/// [`fold_wide_f32`] for updates in double precision.
///
/// # Panics
/// If the lengths differ.
pub fn fold_wide_f64(acc: &mut [i128], delta: &[f64], term: Term) {
    fold_wide(acc, delta, term);
}

/// The largest magnitude in `x` (0 when empty), or `None` if any value is not finite.
#[must_use]
pub fn max_abs_f32(x: &[f32]) -> Option<f64> {
    finite(widest::run(Largest(x)))
}

/// [`max_abs_f32`] for double precision.
#[must_use]
pub fn max_abs_f64(x: &[f64]) -> Option<f64> {
    finite(widest::run(Largest(x)))
}

/// Writes `acc[i] / weight · unit`, for sums below [`SMALL_MAX`] by magnitude, a weight of at most 2^53 and a power of two
/// that takes no quotient below the normal doubles: then the division alone rounds.
///
/// # Panics
/// If the lengths differ.
pub fn mean_small(out: &mut [f64], acc: &[i64], weight: u64, unit: f64) {
    assert_eq!(out.len(), acc.len(), "every sum has a mean");
    widest::run(Mean { out, acc, weight: weight as f64, unit });
}

struct Mean<'a> {
    out: &'a mut [f64],
    acc: &'a [i64],
    weight: f64,
    unit: f64,
}

impl Pass for Mean<'_> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        for (out, &sum) in self.out.iter_mut().zip(self.acc) {
            *out = double(sum) / self.weight * self.unit;
        }
    }
}

/// The double of an integer below 2^51 by magnitude: the inverse of [`integer`].
#[inline(always)]
fn double(x: i64) -> f64 {
    f64::from_bits(ROUNDER.to_bits().wrapping_add(x as u64)) - ROUNDER
}

/// A type of coordinate. Without the sign bit, bit patterns order like magnitudes, and infinities and NaNs come after all
/// finite ones.
trait Coordinate: Copy + Into<f64> {
    type Pattern: Copy + Ord + Default;

    fn magnitude(self) -> Self::Pattern;
    fn of(pattern: Self::Pattern) -> Self;
}

impl Coordinate for f32 {
    type Pattern = u32;

    #[inline(always)]
    fn magnitude(self) -> u32 {
        self.to_bits() & (u32::MAX >> 1)
    }

    #[inline(always)]
    fn of(pattern: u32) -> Self {
        Self::from_bits(pattern)
    }
}

impl Coordinate for f64 {
    type Pattern = u64;

    #[inline(always)]
    fn magnitude(self) -> u64 {
        self.to_bits() & (u64::MAX >> 1)
    }

    #[inline(always)]
    fn of(pattern: u64) -> Self {
        Self::from_bits(pattern)
    }
}

fn finite(largest: impl Into<f64>) -> Option<f64> {
    let largest = largest.into();
    largest.is_finite().then_some(largest)
}

/// The value with the largest pattern.
struct Largest<'a, T>(&'a [T]);

impl<T: Coordinate> Pass for Largest<'_, T> {
    type Out = T;

    #[inline(always)]
    fn run(self) -> T {
        T::of(self.0.iter().fold(T::Pattern::default(), |largest, v| largest.max(v.magnitude())))
    }
}

/// `round_ties_even(x)` for any finite x, in operations that every vector unit has.
#[inline(always)]
fn round_ties_even(x: f64) -> f64 {
    let rounded = (x + ROUNDER) - ROUNDER;
    // Halves above the rounder's range: adding 2^52 of the same sign leaves a last place of one there too.
    let big = 4_503_599_627_370_496_f64.copysign(x);
    let rounded_above = (x + big) - big;
    let magnitude = x.abs();
    if magnitude < ROUNDER_MAX {
        rounded
    } else if magnitude < 2.0 * ROUNDER_MAX {
        rounded_above
    } else {
        x
    }
}

/// The integer that `x` rounds to, for |x| ≤ 2^51.
#[inline(always)]
fn integer(x: f64) -> i64 {
    // Two's complement arithmetic on bit patterns: the difference is small, the wrap-around is intended.
    (x + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i64
}

/// `x` for an integral |x| < 2^63, as two halves that [`integer`] can convert.
#[inline(always)]
fn wide_integer(x: f64) -> i64 {
    const HALF: f64 = 4_294_967_296.0;
    let high = (x * (1.0 / HALF) + ROUNDER) - ROUNDER;
    let low = x - high * HALF;
    (integer(high) << 32).wrapping_add(integer(low))
}

/// One update, added to the sum of 64 bits.
struct Fold<'a, T> {
    acc: &'a mut [i64],
    delta: &'a [T],
    term: Term,
}

impl<T: Copy + Into<f64>> Pass for Fold<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { acc, delta, term } = self;
        if term.is_small {
            // Four operations and no multiplication of integers: about as fast as memory gives and takes.
            let n = term.n as f64;
            for (sum, &d) in acc.iter_mut().zip(delta) {
                let rounded = (d.into() * term.scale + ROUNDER) - ROUNDER;
                *sum = sum.wrapping_add(integer(rounded * n));
            }
        } else {
            for (sum, &d) in acc.iter_mut().zip(delta) {
                let rounded = wide_integer(round_ties_even(d.into() * term.scale));
                *sum = sum.wrapping_add(rounded.wrapping_mul(term.n));
            }
        }
    }
}

fn fold<T: Copy + Into<f64>>(acc: &mut [i64], delta: &[T], term: Term) {
    assert_eq!(acc.len(), delta.len(), "the sum and the update must have the same length");
    widest::run(Fold { acc, delta, term });
}

fn fold_wide<T: Copy + Into<f64>>(acc: &mut [i128], delta: &[T], term: Term) {
    /// 2^42: the high part of a coordinate of 2^84 is 2^42, and both parts stay far below the 2^51 of [`integer`].
    const LOW_BITS: u32 = 42;
    const LOW: f64 = 4_398_046_511_104.0;
    assert_eq!(acc.len(), delta.len(), "the sum and the update must have the same length");
    let n = i128::from(term.n);
    for (sum, &d) in acc.iter_mut().zip(delta) {
        let rounded = round_ties_even(d.into() * term.scale);
        let high = (rounded * (1.0 / LOW) + ROUNDER) - ROUNDER;
        let low = rounded - high * LOW;
        let product = ((i128::from(integer(high)) * n) << LOW_BITS) + i128::from(integer(low)) * n;
        *sum = sum.wrapping_add(product);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, through the standard library's rounding and an exact cast.
    fn naive(delta: f64, bits: u32, n: u64) -> i128 {
        (delta * (bits as f64).exp2()).round_ties_even() as i128 * i128::from(n)
    }

    fn largest(delta: &[f64]) -> f64 {
        max_abs_f64(delta).unwrap()
    }

    fn check_all_paths(delta: &[f64], bits: u32, n: u64) {
        let expected: Vec<i128> = delta.iter().map(|&d| 7 + naive(d, bits, n)).collect();
        let term = Term::new(bits, n, largest(delta));
        let mut wide = vec![7_i128; delta.len()];
        fold_wide_f64(&mut wide, delta, term);
        assert_eq!(wide, expected);
        if expected.iter().any(|&e| i64::try_from(e).is_err()) {
            return;
        }
        let expected: Vec<i64> = expected.iter().map(|&e| e as i64).collect();
        let small = widest::on_each(|| {
            let mut acc = vec![7_i64; delta.len()];
            let largest = fold_small_f64(&mut acc, [delta], bits, [n]);
            (largest, acc)
        });
        let is_small = term.is_small;
        let of_small =
            (is_small.then(|| largest(delta)), if is_small { expected.clone() } else { vec![7; delta.len()] });
        assert!(small.iter().all(|one| *one == of_small), "{small:?} is not {of_small:?}");
        // A bound that is too large costs time, never a bit.
        for term in [term, Term::new(bits, n, f64::MAX)] {
            let on_each = widest::on_each(|| {
                let mut acc = vec![7_i64; delta.len()];
                fold_f64(&mut acc, delta, term);
                acc
            });
            assert!(on_each.iter().all(|acc| *acc == expected), "{on_each:?} is not {expected:?}");
        }
    }

    /// Where it were otherwise, two coordinators of one run would not agree.
    #[test]
    fn every_loop_gives_the_same_bits_on_every_vector_unit() {
        let x: Vec<f64> = (0..1003).map(|i| f64::from(i * 7919 % 1000 - 500) / 7.0).collect();
        let given = widest::on_each(|| {
            let (mut acc, mut mean) = (vec![3_i64; x.len()], vec![0.0; x.len()]);
            let largest = fold_small_f64(&mut acc, [&x[..]; TOGETHER], 20, [600; TOGETHER]);
            mean_small(&mut mean, &acc, 77, 0.5_f64.powi(20));
            let mean: Vec<_> = mean.into_iter().map(f64::to_bits).collect();
            (acc, mean, largest.expect("small terms"), max_abs_f64(&x))
        });
        assert!(given.iter().all(|one| *one == given[0]));
    }

    /// The last product that doubles hold by this loop, and the first that they do not.
    #[test]
    fn small_terms_end_where_doubles_do() {
        let two = |e: i32| 2_f64.powi(e);
        assert!(Term::new(40, 600, 1.0).is_small);
        assert!(Term::new(0, 1, two(51) - 1.0).is_small);
        assert!(!Term::new(0, 1, two(51)).is_small);
        for (max, n) in [(two(51) - 1.0, 1), (two(31) - 1.0, 1 << 20), (two(19) - 1.5, WEIGHT_MAX)] {
            assert!(Term::new(0, n, max).is_small);
            check_all_paths(&[max, -max, max - 0.5, 0.5 - max, 0.5, 1.5], 0, n);
        }
    }

    #[test]
    fn by_hand() {
        let mut sum = [1, 0, 0, 0, 0];
        fold_f32(&mut sum, &[0.25, -0.25, 0.375, 0.625, -1.0], Term::new(2, 3, 1.0));
        // 0.375 · 4 = 1.5 and 0.625 · 4 = 2.5 are ties: both go to 2.
        assert_eq!(sum, [4, -3, 6, 6, -12]);
    }

    #[test]
    fn ties_go_to_even_on_both_sides_of_every_range() {
        let two = |e: i32| 2_f64.powi(e);
        let mut delta = vec![0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, f64::MIN_POSITIVE, 5e-324];
        for e in [31, 32, 33, 50, 51, 52, 53, 62] {
            for offset in [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.5] {
                delta.push(two(e) + offset);
                delta.push(-two(e) - offset);
            }
        }
        check_all_paths(&delta, 0, 1);
        for d in delta {
            check_all_paths(&[d], 0, 1);
            check_all_paths(&[d / two(40)], 40, 3);
        }
    }

    #[test]
    fn largest_admitted_values_fit_the_wide_sum() {
        let mut sum = [0_i128, 0];
        let term = Term::new(SCALE_BITS_MAX, WEIGHT_MAX, 4_294_967_296.0);
        fold_wide_f32(&mut sum, &[4_294_967_296.0, -4_294_967_296.0], term);
        assert_eq!(sum, [1 << 116, -(1 << 116)]);
    }

    #[test]
    fn single_precision_equals_double() {
        let delta: Vec<f32> = (0..1001).map(|i| (i as f32 - 500.0) * 1.234_567e-3).collect();
        let wide: Vec<f64> = delta.iter().map(|&d| f64::from(d)).collect();
        let (mut a, mut b) = (vec![5; delta.len()], vec![5; delta.len()]);
        let term = |bits| Term::new(bits, 600, largest(&wide));
        fold_f32(&mut a, &delta, term(40));
        fold_f64(&mut b, &wide, term(40));
        assert_eq!(a, b);
        let (mut a, mut b) = (vec![5; delta.len()], vec![5; delta.len()]);
        fold_wide_f32(&mut a, &delta, term(52));
        fold_wide_f64(&mut b, &wide, term(52));
        assert_eq!(a, b);
    }

    #[test]
    fn means_of_small_sums_are_rounded_once() {
        let edge = (1_i64 << 51) - 1;
        let sums: Vec<i64> = [0, 1, -1, 5, -7, 1_234_567_890_123, edge, -edge].into_iter().cycle().take(83).collect();
        for weight in [1_u64, 3, 600, 1 << 52] {
            let mut out = vec![0.0; sums.len()];
            mean_small(&mut out, &sums, weight, 2_f64.powi(-40));
            for (mean, &sum) in out.iter().zip(&sums) {
                let expected = sum as f64 / weight as f64 * 2_f64.powi(-40);
                assert_eq!(mean.to_bits(), expected.to_bits());
            }
        }
    }

    #[test]
    fn empty_update_and_zero_weight_change_nothing() {
        fold_f32(&mut [], &[], Term::new(40, 1, 0.0));
        let mut sum = [9];
        fold_f32(&mut sum, &[3.5], Term::new(40, 0, 3.5));
        assert_eq!(sum, [9]);
    }

    #[test]
    fn largest_magnitude_ignores_sign_and_refuses_non_finite() {
        assert_eq!(max_abs_f32(&[]), Some(0.0));
        assert_eq!(max_abs_f32(&[1.0, -3.5, 2.0]), Some(3.5));
        assert_eq!(max_abs_f32(&[-f32::MAX]), Some(f64::from(f32::MAX)));
        assert_eq!(max_abs_f64(&[-0.0, 5e-324]), Some(5e-324));
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0; 37];
            x[35] = bad;
            assert_eq!(max_abs_f32(&x), None);
            for (largest, acc) in widest::on_each(|| {
                let mut acc = vec![i64::MAX; 37];
                (fold_small_f32(&mut acc, [&x], 40, [600]), acc)
            }) {
                assert_eq!(largest, None);
                assert!(acc.iter().all(|&sum| sum == i64::MAX), "nothing of it is left");
            }
            let x: Vec<f64> = x.into_iter().map(f64::from).collect();
            assert_eq!(max_abs_f64(&x), None);
        }
    }

    proptest! {
        #[test]
        fn every_path_equals_the_naive_sum(
            magnitudes in prop::collection::vec((-1.0_f64..1.0, -60_i32..33), 0..70),
            bits in 0_u32..=52,
            n in 0_u64..=WEIGHT_MAX,
        ) {
            let delta: Vec<f64> = magnitudes.iter().map(|&(m, e)| m * 2_f64.powi(e)).collect();
            check_all_paths(&delta, bits, n);
            check_all_paths(&delta, bits, n & 0xff);
            // Without the heavy tail the narrow paths are reached as well.
            let light: Vec<f64> = delta.iter().map(|d| d % 1.0).collect();
            check_all_paths(&light, bits.min(40), n & 0xffff);
        }
    }
}
