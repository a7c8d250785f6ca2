//! A part of a sum, so that threads can fold side by side.
//!
//! Threads split a sum by range, never by arrival, and integers do not care: the result is the same for any number of them.

use std::ops::Range;

use super::accumulator::means_into;
use super::block::Block;
use super::piece::{Piece, largest, pieces, views};
use super::{BLOCK, Error, SPAN, TOGETHER, Value, Weight};
use crate::parameters::Dtype;

/// A range of a sum's coordinates, to be folded into by one thread while others fold into other parts.
#[derive(Debug)]
pub struct Part<'a> {
    start: usize,
    end: usize,
    bits: u32,
    blocks: &'a mut [Block],
}

/// Memory of parts that were cleared, for those that come after them: fresh memory costs as much as to fold into it.
#[derive(Debug, Default)]
pub struct Spare(Vec<Box<[i64]>>);

impl<'a> Part<'a> {
    pub(super) const fn new(range: Range<usize>, bits: u32, blocks: &'a mut [Block]) -> Self {
        Self { start: range.start, end: range.end, bits, blocks }
    }

    /// The coordinates of the whole sum that stand here.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Adds the coordinates of an admitted update from `offset` (counted in the whole sum) on; see [`Sum::fold`](super::Sum::fold).
    ///
    /// # Errors
    /// Coordinates outside this part, not finite, or beyond their limit.
    pub fn fold<T: Value>(&mut self, offset: usize, values: &[T], n: Weight) -> Result<(), Error> {
        self.fold_together(offset, [values], [n])
    }

    /// [`Part::fold`] of several updates' same coordinates, in one pass where they are small.
    fn fold_together<T: Value, const K: usize>(
        &mut self,
        offset: usize,
        values: [&[T]; K],
        n: [Weight; K],
    ) -> Result<(), Error> {
        let count = values[0].len();
        let end = offset.saturating_add(count);
        if offset < self.start || end > self.end || values.iter().any(|values| values.len() != count) {
            return Err(Error::LengthDiffers { end, len: self.end });
        }
        let (first, mut at, mut is_small) = (offset - self.start, 0, true);
        while at < count {
            let place = (first + at) % BLOCK;
            let until = count.min(at + BLOCK - place);
            let (block, pieces) = (&mut self.blocks[(first + at) / BLOCK], values.map(|values| &values[at..until]));
            // Where one piece is not small, the next ones hardly are.
            is_small = is_small && block.fold_small(place, pieces, self.bits, n);
            if !is_small {
                for (piece, n) in pieces.into_iter().zip(n) {
                    let max = largest(offset + at, piece)?;
                    block.fold(place, piece, max, self.bits, n);
                }
            }
            at = until;
        }
        Ok(())
    }

    /// [`Part::fold`] of little-endian bytes, which need not be aligned.
    ///
    /// # Errors
    /// As [`Part::fold`].
    pub fn fold_bytes(&mut self, offset: usize, dtype: Dtype, bytes: &[u8], n: Weight) -> Result<(), Error> {
        pieces(offset, dtype, bytes, |offset, piece| match piece {
            Piece::Single(values) => self.fold(offset, values, n),
            Piece::Double(values) => self.fold(offset, values, n),
        })
    }

    /// [`Part::fold_bytes`] of the same coordinates of any number of updates, [`TOGETHER`] of them in one pass over the sum.
    ///
    /// # Errors
    /// As [`Part::fold`].
    pub fn fold_all_bytes(&mut self, offset: usize, dtype: Dtype, updates: &[(&[u8], Weight)]) -> Result<(), Error> {
        let (groups, rest) = updates.as_chunks::<TOGETHER>();
        groups.iter().try_for_each(|group| self.fold_group(offset, dtype, *group))?;
        match *rest {
            [a, b, c] => self.fold_group(offset, dtype, [a, b, c]),
            [a, b] => self.fold_group(offset, dtype, [a, b]),
            _ => rest.iter().try_for_each(|(bytes, n)| self.fold_bytes(offset, dtype, bytes, *n)),
        }
    }

    fn fold_group<const K: usize>(
        &mut self,
        offset: usize,
        dtype: Dtype,
        group: [(&[u8], Weight); K],
    ) -> Result<(), Error> {
        let (bytes, n) = (group.map(|(bytes, _)| bytes), group.map(|(_, n)| n));
        match dtype {
            Dtype::F32 if let Some(values) = views::<f32, K>(bytes) => self.fold_together(offset, values, n),
            Dtype::F64 if let Some(values) = views::<f64, K>(bytes) => self.fold_together(offset, values, n),
            _ => group.iter().try_for_each(|(bytes, n)| self.fold_bytes(offset, dtype, bytes, *n)),
        }
    }

    /// Writes the means of the coordinates in `range` (counted in the whole sum) to `out`, for updates of `weight` together;
    /// see [`Sum::mean_into_f64`](super::Sum::mean_into_f64).
    ///
    /// # Errors
    /// The weight is 0.
    pub fn mean_into_f64(&self, range: Range<usize>, out: &mut [f64], weight: u64) -> Result<(), Error> {
        means_into(self.blocks, range.start - self.start..range.end - self.start, out, weight, self.bits)
    }

    /// Takes memory that an earlier part left, where nothing was folded yet.
    pub fn prepare(&mut self, spare: &mut Spare) {
        for block in self.blocks.iter_mut().filter(|block| block.len() == BLOCK) {
            if !block.take(&mut spare.0) {
                return;
            }
        }
    }

    /// Sets every coordinate to zero and leaves its memory in `spare`, up to that of one [`SPAN`]; the rest is given back.
    pub fn clear(&mut self, spare: &mut Spare) {
        for block in &mut *self.blocks {
            let lanes = block.clear().filter(|lanes| lanes.len() == BLOCK && spare.0.len() < SPAN / BLOCK);
            spare.0.extend(lanes);
        }
    }
}
