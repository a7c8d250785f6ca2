//! A part of a sum, so that threads can fold side by side.
//!
//! Threads split a sum by range, never by arrival, and integers do not care: the result is the same for any number of them.

use std::ops::Range;

use super::block::Block;
use super::piece::{Piece, largest, pieces};
use super::{BLOCK, Error, Value, Weight};
use crate::parameters::Dtype;

/// Coordinates of one update that are folded before those of the next: long enough for memory to stream, and few enough that
/// their sum stays in a second-level cache.
const SPAN: usize = 16 * BLOCK;

/// A range of a sum's coordinates, to be folded into by one thread while others fold into other parts.
#[derive(Debug)]
pub struct Part<'a> {
    start: usize,
    end: usize,
    bits: u32,
    blocks: &'a mut [Block],
}

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
        let end = offset.saturating_add(values.len());
        if offset < self.start || end > self.end {
            return Err(Error::LengthDiffers { end, len: self.end });
        }
        let (mut at, mut rest) = (offset - self.start, values);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(BLOCK - at % BLOCK));
            let max = largest(self.start + at, piece)?;
            self.blocks[at / BLOCK].fold(at % BLOCK, piece, max, self.bits, n);
            (at, rest) = (at + piece.len(), behind);
        }
        Ok(())
    }

    /// Adds several admitted updates, all from `offset` on, block by block: a block is read from memory once for all of
    /// them.
    ///
    /// # Errors
    /// As [`Part::fold`].
    pub fn fold_together<T: Value>(&mut self, offset: usize, updates: &[(&[T], Weight)]) -> Result<(), Error> {
        let longest = updates.iter().map(|(values, _)| values.len()).max().unwrap_or(0);
        let mut from = 0;
        while from < longest {
            let until = longest.min(from + BLOCK - (offset + from) % BLOCK);
            for (values, n) in updates {
                if from < values.len() {
                    self.fold(offset + from, &values[from..until.min(values.len())], *n)?;
                }
            }
            from = until;
        }
        Ok(())
    }

    /// [`Part::fold_together`] of little-endian bytes. Each slice is a whole update: only what belongs here is read.
    ///
    /// # Errors
    /// As [`Part::fold`].
    ///
    /// # Panics
    /// If an update ends before this part does.
    pub fn fold_bytes_together(&mut self, dtype: Dtype, updates: &[(&[u8], Weight)]) -> Result<(), Error> {
        let size = dtype.size();
        for from in self.range().step_by(SPAN) {
            let until = self.end.min(from + SPAN);
            for (bytes, n) in updates {
                self.fold_bytes(from, dtype, &bytes[from * size..until * size], *n)?;
            }
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
}
