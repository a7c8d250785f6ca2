//! The fold where it is small: doubles hold what is added to a coordinate, which is the common case.
//!
//! The terms of several updates are added up before the sum is touched. Whether all of them are small shows only at the end
//! of a pass, so a pass adds first and takes back what it should not have added: integers that wrap around come back exactly.

use std::hint::black_box;

use super::{Coordinate, ROUNDER, WEIGHT_MAX, finite, is_small, power_of_two};
use crate::widest::{self, Pass, Product};

/// Updates that [`fold_small_f32`] is meant to take at once: with four the sum costs little beside reading them, and more
/// gain less than 5 %.
pub const TOGETHER: usize = 4;

/// [`fold_f32`](super::fold_f32) and [`max_abs_f32`](super::max_abs_f32) of `K` updates in one pass, where what is added to a
/// coordinate is below 2^51: returns the largest magnitude of all. `None`, with every `acc[i]` as it was, if that is not so or
/// a value is not finite.
///
/// # Panics
/// If the lengths differ, `bits` exceeds [`SCALE_BITS_MAX`](super::SCALE_BITS_MAX) or a weight exceeds [`WEIGHT_MAX`].
pub fn fold_small_f32<const K: usize>(acc: &mut [i64], deltas: [&[f32]; K], bits: u32, n: [u64; K]) -> Option<f64> {
    fold_small(acc, deltas, bits, n)
}

/// [`fold_small_f32`] for updates in double precision.
///
/// # Panics
/// As [`fold_small_f32`].
pub fn fold_small_f64<const K: usize>(acc: &mut [i64], deltas: [&[f64]; K], bits: u32, n: [u64; K]) -> Option<f64> {
    fold_small(acc, deltas, bits, n)
}

fn fold_small<T: Coordinate, const K: usize>(
    acc: &mut [i64],
    deltas: [&[T]; K],
    bits: u32,
    n: [u64; K],
) -> Option<f64> {
    assert!(deltas.iter().all(|delta| delta.len() == acc.len()), "the sum and the update must have the same length");
    assert!(n.iter().all(|&n| n <= WEIGHT_MAX), "weights {n:?} exceed {WEIGHT_MAX}");
    let scale = power_of_two(bits);
    let largest = finite(pass(acc, deltas, scale, n, black_box(Direction::Add)));
    if largest.is_none_or(|largest| !is_small(largest, scale, n.iter().sum::<u64>() as f64)) {
        pass(acc, deltas, scale, n, black_box(Direction::TakeBack));
        return None;
    }
    largest
}

/// One loop for both directions, not one for each: what it adds where the result is not defined, of NaNs for example, it
/// takes back.
#[inline(never)]
fn pass<T: Coordinate, const K: usize>(
    acc: &mut [i64],
    deltas: [&[T]; K],
    scale: f64,
    n: [u64; K],
    direction: Direction,
) -> T {
    match widest::product() {
        Product::Integer => widest::run(FoldSmall { acc, deltas, terms: Integers::new(scale, n, direction) }),
        Product::Fused => widest::run(FoldSmall { acc, deltas, terms: Doubles::<K, true>::new(scale, n, direction) }),
        Product::Separate => {
            widest::run(FoldSmall { acc, deltas, terms: Doubles::<K, false>::new(scale, n, direction) })
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Add,
    TakeBack,
}

/// The same coordinate of `K` updates, rounded, weighed and added up. Everything is exact where the sum is small, so what
/// does it in which way changes no bit; elsewhere it is some integer, and its opposite in the other direction.
trait Terms<const K: usize> {
    fn sum(&self, values: [f64; K]) -> i64;
}

/// Multiplies integers.
struct Integers<const K: usize> {
    rounder: f64,
    n: [i64; K],
    /// The patterns of [`Integers::sum`] are those of its integers and this one's more.
    offset: i64,
}

impl<const K: usize> Integers<K> {
    fn new(scale: f64, n: [u64; K], direction: Direction) -> Self {
        let n = n.map(|n| match direction {
            Direction::Add => n as i64,
            Direction::TakeBack => -(n as i64),
        });
        let rounder = ROUNDER / scale;
        let offset = n.iter().sum::<i64>().wrapping_mul(rounder.to_bits() as i64).wrapping_neg();
        Self { rounder, n, offset }
    }
}

impl<const K: usize> Terms<K> for Integers<K> {
    #[inline(always)]
    fn sum(&self, values: [f64; K]) -> i64 {
        let mut sum = self.offset;
        for (value, n) in values.into_iter().zip(self.n) {
            // Rounds to a multiple of 1/scale, whose number is in the last bits.
            let rounded = (value + self.rounder).to_bits() as i64;
            sum = sum.wrapping_add(rounded.wrapping_mul(n));
        }
        sum
    }
}

/// Multiplies doubles. With `FMA` a multiplication and an addition are one instruction.
struct Doubles<const K: usize, const FMA: bool> {
    rounder: f64,
    factors: [f64; K],
    /// 0 to add, -1 to take back.
    sign: i64,
    offset: i64,
}

impl<const K: usize, const FMA: bool> Doubles<K, FMA> {
    fn new(scale: f64, n: [u64; K], direction: Direction) -> Self {
        let sign = match direction {
            Direction::Add => 0,
            Direction::TakeBack => -1,
        };
        // As in `integer`, less the rounder's pattern: `x - r` is `x + (!r + 1)`, and `r - x` is `!x + (r + 1)`.
        let offset = (ROUNDER.to_bits() as i64 ^ !sign).wrapping_add(1);
        // Rounds to multiples of 1/scale, so that weight and scale are one factor.
        Self { rounder: ROUNDER / scale, factors: n.map(|n| n as f64 * scale), sign, offset }
    }
}

impl<const K: usize, const FMA: bool> Terms<K> for Doubles<K, FMA> {
    #[inline(always)]
    fn sum(&self, values: [f64; K]) -> i64 {
        let mut sum = ROUNDER;
        for (value, factor) in values.into_iter().zip(self.factors) {
            let rounded = (value + self.rounder) - self.rounder;
            sum = if FMA { rounded.mul_add(factor, sum) } else { rounded * factor + sum };
        }
        (sum.to_bits() as i64 ^ self.sign).wrapping_add(self.offset)
    }
}

/// Updates added to the sum of 64 bits, and the largest of their values.
struct FoldSmall<'a, T, const K: usize, S> {
    acc: &'a mut [i64],
    deltas: [&'a [T]; K],
    terms: S,
}

impl<T: Coordinate, const K: usize, S: Terms<K>> Pass for FoldSmall<'_, T, K, S> {
    type Out = T;

    #[inline(always)]
    fn run(self) -> T {
        let Self { acc, deltas, terms } = self;
        let deltas = deltas.map(|delta| &delta[..acc.len()]);
        let mut largest = T::Pattern::default();
        for (i, sum) in acc.iter_mut().enumerate() {
            let values = deltas.map(|delta| delta[i]);
            largest = values.iter().fold(largest, |largest, value| largest.max(value.magnitude()));
            *sum = sum.wrapping_add(terms.sum(values.map(Into::into)));
        }
        T::of(largest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Term, fold_f32, max_abs_f32};
    use super::*;

    /// Several updates in one pass add what each adds alone, or nothing where their sum is too large for it.
    #[test]
    fn several_updates_fold_as_one_after_another() {
        let update = |k: usize, max: f32| -> Vec<f32> {
            (0..83).map(|i| ((i * 31 + k * 17) % 41) as f32 / 20.0 * max - max).collect()
        };
        for (max, is_small) in [(1e-3, true), (1.2, true), (1.3, false), (3e9, false), (f32::NAN, false)] {
            let updates: [Vec<f32>; 4] = std::array::from_fn(|k| update(k, if k == 2 { max } else { 0.1 }));
            let n = [600, 1, 1000, 43];
            let mut expected = vec![-3_i64; 83];
            let mut largest = 0.0_f64;
            for (delta, &n) in updates.iter().zip(n.iter().filter(|_| is_small)) {
                largest = largest.max(max_abs_f32(delta).unwrap());
                fold_f32(&mut expected, delta, Term::new(40, n, f64::MAX));
            }
            let expected = (is_small.then_some(largest), expected);
            for found in widest::on_each(|| {
                let mut acc = vec![-3; 83];
                (fold_small_f32(&mut acc, updates.each_ref().map(|delta| &delta[..]), 40, n), acc)
            }) {
                assert_eq!(found, expected, "{max}");
            }
        }
        // Each alone is small, together they are not.
        let edge = [2_f64.powi(51) - 1.0];
        assert!(fold_small_f64(&mut [0], [&edge], 0, [1]).is_some());
        let mut acc = [9];
        assert!(fold_small_f64(&mut acc, [&edge, &edge], 0, [1, 1]).is_none());
        assert_eq!(acc, [9]);
    }
}
