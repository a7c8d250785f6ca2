//! The two types in which a network computes, f32 and f64: what layers need beyond arithmetic.

use tributary_kernels::real::Real;

use super::{Operator, Place, Row};
use crate::data::Dataset;

/// A value of a network.
pub(crate) trait Element: Real {
    /// Builds a layer in this type.
    fn build(row: &Row, place: &Place<'_>) -> Option<Operator<Self>>;

    /// Writes the prepared values of these examples.
    fn gather(dataset: &Dataset, indices: &[u32], out: &mut [Self]);

    /// Reads little-endian values; the lengths fit.
    fn read(bytes: &[u8], out: &mut [Self]);

    /// Writes `after − before` as little-endian values, where `before` is little-endian too; the lengths fit. Tells
    /// whether all of them are finite.
    fn write_difference(after: &[Self], before: &[u8], out: &mut [u8]) -> bool;
}

impl Element for f32 {
    fn build(row: &Row, place: &Place<'_>) -> Option<Operator<Self>> {
        (row.single)(place)
    }

    fn gather(dataset: &Dataset, indices: &[u32], out: &mut [Self]) {
        dataset.gather_f32(indices, out);
    }

    fn read(bytes: &[u8], out: &mut [Self]) {
        for (out, chunk) in out.iter_mut().zip(bytes.as_chunks().0) {
            *out = Self::from_le_bytes(*chunk);
        }
    }

    fn write_difference(after: &[Self], before: &[u8], out: &mut [u8]) -> bool {
        let mut is_finite = true;
        for ((out, chunk), after) in out.as_chunks_mut().0.iter_mut().zip(before.as_chunks().0).zip(after) {
            let difference = after - Self::from_le_bytes(*chunk);
            is_finite &= difference.is_finite();
            *out = difference.to_le_bytes();
        }
        is_finite
    }
}

impl Element for f64 {
    fn build(row: &Row, place: &Place<'_>) -> Option<Operator<Self>> {
        (row.double)(place)
    }

    fn gather(dataset: &Dataset, indices: &[u32], out: &mut [Self]) {
        dataset.gather_f64(indices, out);
    }

    fn read(bytes: &[u8], out: &mut [Self]) {
        for (out, chunk) in out.iter_mut().zip(bytes.as_chunks().0) {
            *out = Self::from_le_bytes(*chunk);
        }
    }

    fn write_difference(after: &[Self], before: &[u8], out: &mut [u8]) -> bool {
        let mut is_finite = true;
        for ((out, chunk), after) in out.as_chunks_mut().0.iter_mut().zip(before.as_chunks().0).zip(after) {
            let difference = after - Self::from_le_bytes(*chunk);
            is_finite &= difference.is_finite();
            *out = difference.to_le_bytes();
        }
        is_finite
    }
}
