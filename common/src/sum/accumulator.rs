//! The sum over all coordinates of a model.

use std::ops::Range;

use super::block::Block;
use super::{BITS_MAX, BLOCK, Error, Part, SPAN, Value, WEIGHT_TOTAL_MAX, Weight, check};
use crate::Digest;
use crate::parameters::Dtype;

/// A sum of weighted updates of `len` coordinates.
///
/// An update's weight is counted once, by [`Sum::admit`]; its coordinates may come in any number of pieces and in any order,
/// by [`Sum::fold`]. [`Sum::add`] does both. Two sums are equal if their values are, widened or not.
#[derive(Clone, Debug)]
pub struct Sum {
    pub(super) len: usize,
    pub(super) bits: u32,
    pub(super) weight: u64,
    pub(super) blocks: Vec<Block>,
}

impl Sum {
    /// The empty sum of `len` coordinates with a resolution of 2^-`bits`.
    ///
    /// # Errors
    /// `bits` is above [`BITS_MAX`].
    pub fn new(len: usize, bits: u32) -> Result<Self, Error> {
        if bits > BITS_MAX {
            return Err(Error::BitsOutside { bits });
        }
        let blocks = (0..len).step_by(BLOCK).map(|at| Block::zeros(BLOCK.min(len - at))).collect();
        Ok(Self { len, bits, weight: 0, blocks })
    }

    /// Number of coordinates.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no coordinate at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The resolution: coordinates are multiples of 2^-bits.
    #[must_use]
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// The weight of all updates that were admitted.
    #[must_use]
    pub const fn weight(&self) -> u64 {
        self.weight
    }

    /// Blocks that sum in 128 bits: each costs twice the memory.
    #[must_use]
    pub fn wide_blocks(&self) -> usize {
        self.blocks.iter().filter(|block| block.is_wide()).count()
    }

    /// Counts an update's weight, before any of its coordinates.
    ///
    /// # Errors
    /// The total would exceed [`WEIGHT_TOTAL_MAX`]; nothing has changed then.
    pub fn admit(&mut self, n: Weight) -> Result<(), Error> {
        self.weight = total(self.weight, n.get())?;
        Ok(())
    }

    /// Adds a whole update, or nothing of it.
    ///
    /// # Errors
    /// The length differs, a coordinate is not finite or beyond its limit, or the total weight is.
    pub fn add<T: Value>(&mut self, update: &[T], n: Weight) -> Result<(), Error> {
        if update.len() != self.len {
            return Err(Error::LengthDiffers { end: update.len(), len: self.len });
        }
        check(0, update)?;
        self.admit(n)?;
        self.fold(0, update, n)
    }

    /// Adds the coordinates of an admitted update from `offset` on. What comes here has passed [`check`], so an error means
    /// that the update changed since; the sum then holds a part of it and must not be used any more.
    ///
    /// # Errors
    /// Coordinates beyond the end, not finite, or beyond their limit.
    pub fn fold<T: Value>(&mut self, offset: usize, values: &[T], n: Weight) -> Result<(), Error> {
        self.whole().fold(offset, values, n)
    }

    /// [`Sum::fold`] of little-endian bytes; `offset` still counts coordinates.
    ///
    /// # Errors
    /// As [`Sum::fold`].
    pub fn fold_bytes(&mut self, offset: usize, dtype: Dtype, bytes: &[u8], n: Weight) -> Result<(), Error> {
        self.whole().fold_bytes(offset, dtype, bytes, n)
    }

    fn whole(&mut self) -> Part<'_> {
        Part::new(0..self.len, self.bits, &mut self.blocks)
    }

    /// The sum in parts of [`SPAN`] coordinates, so that threads can work side by side.
    pub fn spans(&mut self) -> impl ExactSizeIterator<Item = Part<'_>> {
        let (len, bits) = (self.len, self.bits);
        let part = move |(i, blocks)| Part::new(i * SPAN..len.min((i + 1) * SPAN), bits, blocks);
        self.blocks.chunks_mut(SPAN / BLOCK).enumerate().map(part)
    }

    /// Adds another sum of the same form: what a worker, an aggregator below or a saved state has summed.
    ///
    /// # Errors
    /// The form differs or the total weight exceeds its limit; nothing has changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if (self.len, self.bits) != (other.len, other.bits) {
            let (len, bits, other_len, other_bits) = (self.len, self.bits, other.len, other.bits);
            return Err(Error::ShapeDiffers { len, bits, other_len, other_bits });
        }
        self.weight = total(self.weight, other.weight)?;
        self.blocks.iter_mut().zip(&other.blocks).for_each(|(block, more)| block.merge(more));
        Ok(())
    }

    /// Writes the means of the coordinates in `range` to `out`, each correctly rounded.
    ///
    /// # Errors
    /// Nothing was admitted.
    pub fn mean_into_f64(&self, range: Range<usize>, out: &mut [f64]) -> Result<(), Error> {
        means_into(&self.blocks, range, out, self.weight, self.bits)
    }

    /// BLAKE3 over length, resolution, weight and values: equal for equal sums.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.len as u64).to_le_bytes());
        hasher.update(&self.bits.to_le_bytes());
        hasher.update(&self.weight.to_le_bytes());
        let mut bytes = Vec::with_capacity(16 * BLOCK);
        for block in &self.blocks {
            bytes.clear();
            (0..block.len()).for_each(|i| bytes.extend_from_slice(&block.at(i).to_le_bytes()));
            hasher.update(&bytes);
        }
        hasher.finalize().into()
    }
}

impl PartialEq for Sum {
    fn eq(&self, other: &Self) -> bool {
        (self.len, self.bits, self.weight) == (other.len, other.bits, other.weight)
            && self.blocks.iter().zip(&other.blocks).all(|(a, b)| (0..a.len()).all(|i| a.at(i) == b.at(i)))
    }
}

impl Eq for Sum {}

/// Writes the means of the coordinates in `range`, counted from the first block on.
pub(super) fn means_into(
    blocks: &[Block],
    range: Range<usize>,
    out: &mut [f64],
    weight: u64,
    bits: u32,
) -> Result<(), Error> {
    assert_eq!(range.len(), out.len(), "every mean has its place");
    if weight == 0 {
        return Err(Error::Empty);
    }
    let mut at = range.start;
    while at < range.end {
        let (block, from) = (&blocks[at / BLOCK], at % BLOCK);
        let until = block.len().min(from + range.end - at);
        let out = &mut out[at - range.start..][..until - from];
        block.means_into(from, out, weight, resolution(bits));
        at += until - from;
    }
    Ok(())
}

/// 2^-bits.
fn resolution(bits: u32) -> f64 {
    f64::from_bits(u64::from(1023 - bits) << 52)
}

const fn total(weight: u64, more: u64) -> Result<u64, Error> {
    let total = weight.saturating_add(more);
    if total > WEIGHT_TOTAL_MAX { Err(Error::TotalWeightOutside { total }) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sum::Spare;
    use crate::sum::{DELTA_MAX, WEIGHT_MAX, check_bytes};
    use half::{bf16, f16};
    use proptest::prelude::*;

    fn weight(n: u64) -> Weight {
        Weight::new(n).unwrap()
    }

    fn mean(sum: &Sum) -> Vec<f64> {
        let mut out = vec![0.0; sum.len()];
        sum.mean_into_f64(0..sum.len(), &mut out).unwrap();
        out
    }

    fn bits_of(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn weighted_mean_by_hand() {
        let mut sum = Sum::new(3, 40).unwrap();
        sum.add(&[1.0_f32, -0.5, 0.0], weight(1)).unwrap();
        sum.add(&[2.0_f32, 0.5, 0.0], weight(3)).unwrap();
        assert_eq!(sum.weight(), 4);
        assert_eq!(bits_of(&mean(&sum)), bits_of(&[1.75, 0.25, 0.0]));
        let mut middle = [0.0];
        sum.mean_into_f64(1..2, &mut middle).unwrap();
        assert_eq!(bits_of(&middle), bits_of(&[0.25]));
    }

    #[test]
    fn single_client_and_zero_update_come_back_as_they_went_in() {
        let mut sum = Sum::new(2, 40).unwrap();
        sum.add(&[0.375_f64, -3.0], weight(WEIGHT_MAX)).unwrap();
        assert_eq!(bits_of(&mean(&sum)), bits_of(&[0.375, -3.0]));
        let mut zero = Sum::new(2, 40).unwrap();
        zero.add(&[0.0_f32, -0.0], weight(7)).unwrap();
        assert_eq!(bits_of(&mean(&zero)), bits_of(&[0.0, 0.0]));
    }

    /// Half a unit of resolution rounds to even, so that rounding has no direction.
    #[test]
    fn coordinates_round_ties_to_even() {
        let mut sum = Sum::new(4, 1).unwrap();
        sum.add(&[0.25_f32, 0.75, -0.25, -0.75], Weight::ONE).unwrap();
        assert_eq!(bits_of(&mean(&sum)), bits_of(&[0.0, 1.0, 0.0, -1.0]));
    }

    #[test]
    fn every_limit_is_reached_and_named() {
        let mut sum = Sum::new(BLOCK + 1, 40).unwrap();
        let mut update = vec![0.0_f64; BLOCK + 1];
        let of = |value: f64, update: &mut Vec<f64>| {
            update[BLOCK] = value;
            let mut sum = Sum::new(BLOCK + 1, 40).unwrap();
            sum.add(update, Weight::ONE).map_err(|error| error.to_string())
        };
        of(DELTA_MAX, &mut update).unwrap();
        of(-DELTA_MAX, &mut update).unwrap();
        let error = of(-DELTA_MAX * 1.001, &mut update).unwrap_err();
        assert!(error.contains("coordinate 4096 is -42") && error.contains("±4294967296"), "{error}");
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(of(bad, &mut update).unwrap_err(), "could not add update: coordinate 4096 is not finite");
        }
        assert!(matches!(sum.add(&[0.0_f32; 5], Weight::ONE), Err(Error::LengthDiffers { end: 5, len: 4097 })));
        assert!(matches!(Sum::new(1, BITS_MAX + 1), Err(Error::BitsOutside { .. })));
        let mut out = [0.0];
        assert!(matches!(sum.mean_into_f64(0..1, &mut out), Err(Error::Empty)));
        for _ in 0..1 << 20 {
            sum.admit(weight(WEIGHT_MAX)).unwrap();
        }
        assert!(matches!(sum.admit(Weight::ONE), Err(Error::TotalWeightOutside { .. })));
    }

    /// A refused update that left something behind would make the sum depend on who was refused.
    #[test]
    fn refused_update_leaves_the_sum_as_it_was() {
        let mut sum = Sum::new(2 * BLOCK, 40).unwrap();
        sum.add(&vec![0.5_f32; 2 * BLOCK], weight(3)).unwrap();
        let before = sum.clone();
        let mut update = vec![1.0_f32; 2 * BLOCK];
        update[2 * BLOCK - 1] = f32::NAN;
        assert!(sum.add(&update, weight(5)).is_err());
        assert_eq!(sum, before);
        assert!(sum.merge(&Sum::new(3, 40).unwrap()).is_err());
        assert_eq!(sum, before);
    }

    /// The largest sum that the limits admit, in every coordinate.
    #[test]
    fn largest_sum_fits_128_bits() {
        let mut sum = Sum::new(1, BITS_MAX).unwrap();
        sum.add(&[-DELTA_MAX], weight(WEIGHT_MAX)).unwrap();
        for _ in 0..20 {
            let same = sum.clone();
            sum.merge(&same).unwrap();
        }
        assert_eq!(sum.weight(), WEIGHT_TOTAL_MAX);
        assert_eq!(sum.blocks[0].at(0), -(1 << 126));
        assert_eq!(bits_of(&mean(&sum)), bits_of(&[-DELTA_MAX]));
        assert!(sum.merge(&sum.clone()).is_err());
    }

    #[test]
    fn widened_and_narrow_sums_of_equal_values_are_equal() {
        let (mut wide, mut narrow) = (Sum::new(2, 40).unwrap(), Sum::new(2, 40).unwrap());
        for sign in [1.0, -1.0] {
            wide.add(&[sign * 4e9, 0.5], weight(1_000_000)).unwrap();
            narrow.add(&[0.0, 0.5], weight(1_000_000)).unwrap();
        }
        assert_eq!((wide.wide_blocks(), narrow.wide_blocks()), (1, 0));
        assert_eq!(wide, narrow);
        assert_eq!(wide.digest(), narrow.digest());
        assert_eq!(bits_of(&mean(&wide)), bits_of(&mean(&narrow)));
        narrow.add(&[0.0, 1e-12], Weight::ONE).unwrap();
        assert_ne!(wide.digest(), narrow.digest());
    }

    #[test]
    fn bytes_of_any_type_and_alignment_fold_like_values() {
        let values: Vec<f32> = (0..5000_u16).map(|i| f32::from(i) / 64.0 - 20.0).collect();
        let exact: Vec<f32> = values.iter().map(|&value| bf16::from_f32(value).to_f32()).collect();
        let mut expected = Sum::new(5000, 40).unwrap();
        expected.add(&exact, weight(9)).unwrap();
        for (name, dtype) in Dtype::WORDS {
            let mut bytes = vec![0_u8; 1 + 5000 * dtype.size()];
            for (value, chunk) in exact.iter().zip(bytes[1..].chunks_mut(dtype.size())) {
                dtype.write(f64::from(*value), chunk);
            }
            let mut sum = Sum::new(5000, 40).unwrap();
            sum.admit(weight(9)).unwrap();
            let (front, back) = bytes[1..].split_at(1234 * dtype.size());
            check_bytes(0, dtype, front).unwrap();
            sum.fold_bytes(1234, dtype, back, weight(9)).unwrap();
            sum.fold_bytes(0, dtype, front, weight(9)).unwrap();
            assert_eq!(sum, expected, "{name}");
        }
        let error = check_bytes(100, Dtype::F16, &f16::INFINITY.to_le_bytes()).unwrap_err();
        assert!(matches!(error, Error::NonFinite { coordinate: 100 }));
    }

    /// However many are folded together, whether they are small together or not, and whatever their alignment.
    #[test]
    fn updates_fold_together_as_one_after_another() {
        let len = BLOCK + 9;
        let update = |k: u8| -> Vec<f32> {
            let large = if k == 6 { 3e6 } else { 0.1 };
            (0..len).map(|i| if i == BLOCK / 2 { large } else { f32::from(k) / 32.0 }).collect()
        };
        for count in 0..=9_u8 {
            for shift in [0, 1] {
                let (mut expected, mut bytes) = (Sum::new(len, 40).unwrap(), Vec::new());
                for k in 0..count {
                    let n = weight(u64::from(k) * 1000 + 1);
                    expected.add(&update(k), n).unwrap();
                    let values = update(k).into_iter().flat_map(f32::to_le_bytes);
                    bytes.push(([0; 1][..shift].iter().copied().chain(values).collect::<Vec<u8>>(), n));
                }
                let mut sum = Sum::new(len, 40).unwrap();
                bytes.iter().for_each(|(_, n)| sum.admit(*n).unwrap());
                let updates: Vec<_> = bytes.iter().map(|(bytes, n)| (&bytes[shift..], *n)).collect();
                sum.whole().fold_all_bytes(0, Dtype::F32, &updates).unwrap();
                assert_eq!(sum, expected, "{count} updates");
            }
        }
        let (long, short) = ([0; 8], [0; 4]);
        let updates = [(&long[..], Weight::ONE), (&short[..], Weight::ONE)];
        assert!(Sum::new(2, 40).unwrap().whole().fold_all_bytes(0, Dtype::F32, &updates).is_err());
    }

    #[test]
    fn spans_fold_and_average_like_the_whole_and_can_be_emptied() {
        let len = SPAN + BLOCK + 7;
        let updates: Vec<Vec<f32>> = (1..=3_u8).map(|k| vec![f32::from(k) * 0.3; len]).collect();
        let mut whole = Sum::new(len, 40).unwrap();
        let mut split = whole.clone();
        for update in &updates {
            whole.add(update, weight(11)).unwrap();
            split.admit(weight(11)).unwrap();
        }
        let mut means = vec![0.0; len];
        for mut span in split.spans() {
            for update in &updates {
                let bytes: Vec<u8> = update[span.range()].iter().flat_map(|value| value.to_le_bytes()).collect();
                span.fold_bytes(span.range().start, Dtype::F32, &bytes, weight(11)).unwrap();
            }
            assert!(span.fold(span.range().end, &[0.0_f32], weight(11)).is_err());
            span.mean_into_f64(span.range(), &mut means[span.range()], 33).unwrap();
        }
        assert_eq!(split, whole);
        assert_eq!(bits_of(&means), bits_of(&mean(&whole)));
        let mut spare = Spare::default();
        split.spans().for_each(|mut span| span.clear(&mut spare));
        let mut empty = Sum::new(len, 40).unwrap();
        empty.admit(weight(33)).unwrap();
        assert_eq!(split, empty);
        split.spans().for_each(|mut span| span.prepare(&mut spare));
        assert_eq!(split, empty, "memory that was used before holds zeros");
    }

    /// What nobody has folded into takes no memory, also in a saved sum, and merges like zeros.
    #[test]
    fn untouched_blocks_are_zeros() {
        let mut sum = Sum::new(2 * BLOCK, 40).unwrap();
        let untouched = sum.clone();
        sum.admit(weight(3)).unwrap();
        sum.fold(BLOCK, &[0.5_f32], weight(3)).unwrap();
        let mut bytes = Vec::new();
        sum.write_to(&mut bytes).unwrap();
        assert!(bytes.len() < 8 * BLOCK + 100, "{} bytes", bytes.len());
        assert_eq!(Sum::read_from(&mut &bytes[..], 2 * BLOCK).unwrap(), sum);
        let mut merged = untouched;
        merged.merge(&sum).unwrap();
        assert_eq!(merged, sum);
        let mean = mean(&merged);
        assert_eq!(bits_of(&mean[BLOCK - 1..=BLOCK + 1]), bits_of(&[0.0, 0.5, 0.0]));
    }

    /// One coordinate of heavy tails: Pareto-like magnitudes over twelve decades, either sign.
    fn coordinate() -> impl Strategy<Value = f32> {
        (any::<bool>(), 0.0_f32..=1.0).prop_map(|(sign, u)| {
            let magnitude = (1e-7 * (1.0 - u * 0.999_999).powf(-2.7)).min(4.2e9);
            if sign { magnitude } else { -magnitude }
        })
    }

    const LEN: usize = 37;

    fn updates() -> impl Strategy<Value = Vec<(Vec<f32>, u64)>> {
        prop::collection::vec((prop::collection::vec(coordinate(), LEN), 1_u64..=1_000_000), 1..24)
    }

    proptest! {
        /// Promise P2: any permutation, any split into partial sums and any tree of merges give the same bytes, and they
        /// are those of plain 128-bit arithmetic.
        #[test]
        fn order_and_split_do_not_matter(
            updates in updates(), keys in prop::collection::vec(any::<u32>(), 24), workers in 1_usize..6,
        ) {
            let mut inorder = Sum::new(LEN, 40).unwrap();
            let mut reference = [0_i128; LEN];
            for (update, n) in &updates {
                inorder.add(update, weight(*n)).unwrap();
                for (acc, &value) in reference.iter_mut().zip(update) {
                    #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^73")]
                    let fixed = (f64::from(value) * 1_099_511_627_776.0).round_ties_even() as i128;
                    *acc += fixed * i128::from(*n);
                }
            }
            prop_assert!((0..LEN).all(|i| inorder.blocks[0].at(i) == reference[i]));

            let mut order: Vec<usize> = (0..updates.len()).collect();
            order.sort_by_key(|&i| keys[i]);
            let mut sums = vec![Sum::new(LEN, 40).unwrap(); workers];
            for i in order {
                let (update, n) = &updates[i];
                let cut = keys[i] as usize % LEN;
                let sum = &mut sums[keys[i] as usize / 7 % workers];
                sum.admit(weight(*n)).unwrap();
                sum.fold(cut, &update[cut..], weight(*n)).unwrap();
                sum.fold(0, &update[..cut], weight(*n)).unwrap();
            }
            while sums.len() > 1 {
                let last = sums.pop().unwrap();
                let at = keys[0] as usize % sums.len();
                sums[at].merge(&last).unwrap();
            }
            prop_assert_eq!(&sums[0], &inorder);
            prop_assert_eq!(sums[0].digest(), inorder.digest());
            prop_assert_eq!(bits_of(&mean(&sums[0])), bits_of(&mean(&inorder)));
        }
    }
}
