//! Pieces of an update: what is refused at the door, and bytes read as values.

use half::{bf16, f16};

use super::{BLOCK, DELTA_MAX, Error, Value};
use crate::parameters::Dtype;

/// Checks coordinates that begin at `offset` without adding them: what must pass before an update counts.
///
/// # Errors
/// A coordinate is not finite or beyond [`DELTA_MAX`].
pub fn check<T: Value>(offset: usize, values: &[T]) -> Result<(), Error> {
    values.chunks(BLOCK).enumerate().try_for_each(|(i, chunk)| largest(offset + i * BLOCK, chunk).map(|_| ()))
}

/// [`check`] of little-endian bytes, which need not be aligned.
///
/// # Errors
/// As [`check`].
pub fn check_bytes(offset: usize, dtype: Dtype, bytes: &[u8]) -> Result<(), Error> {
    pieces(offset, dtype, bytes, |offset, piece| match piece {
        Piece::Single(values) => check(offset, values),
        Piece::Double(values) => check(offset, values),
    })
}

/// The largest magnitude in `values`, which begin at `offset`.
pub(super) fn largest<T: Value>(offset: usize, values: &[T]) -> Result<f64, Error> {
    match T::max_abs(values) {
        Some(max) if max <= DELTA_MAX => Ok(max),
        // The rare refusal looks again for the coordinate to name.
        _ => Err(values
            .iter()
            .enumerate()
            .find_map(|(i, &value)| refusal(offset + i, value.into()))
            .expect("a maximum that is refused belongs to a coordinate")),
    }
}

fn refusal(coordinate: usize, value: f64) -> Option<Error> {
    if !value.is_finite() {
        Some(Error::NonFinite { coordinate })
    } else if value.abs() > DELTA_MAX {
        Some(Error::DeltaOutside { coordinate, value })
    } else {
        None
    }
}

pub(super) enum Piece<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

/// The values of several updates' bytes as they lie, if alignment and byte order allow it for all of them.
pub(super) fn views<T: Value, const K: usize>(bytes: [&[u8]; K]) -> Option<[&[T]; K]> {
    let view = |bytes| if cfg!(target_endian = "little") { bytemuck::try_cast_slice(bytes).ok() } else { None };
    let mut values: [&[T]; K] = [&[]; K];
    for (values, bytes) in values.iter_mut().zip(bytes) {
        *values = view(bytes)?;
    }
    Some(values)
}

/// Hands `bytes` on as typed values: as they lie where alignment and byte order allow it, else copied a block at a time.
pub(super) fn pieces(
    offset: usize,
    dtype: Dtype,
    bytes: &[u8],
    mut take: impl FnMut(usize, Piece<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    assert_eq!(bytes.len() % dtype.size(), 0, "pieces of an update hold whole values");
    if dtype == Dtype::F32
        && let Some([values]) = views([bytes])
    {
        return take(offset, Piece::Single(values));
    }
    if dtype == Dtype::F64
        && let Some([values]) = views([bytes])
    {
        return take(offset, Piece::Double(values));
    }
    let mut single = [0.0_f32; BLOCK];
    let mut double = [0.0_f64; BLOCK];
    for (i, chunk) in bytes.chunks(BLOCK * dtype.size()).enumerate() {
        let count = chunk.len() / dtype.size();
        match dtype {
            Dtype::F64 => read(chunk, &mut double[..count], f64::from_le_bytes),
            Dtype::F32 => read(chunk, &mut single[..count], f32::from_le_bytes),
            Dtype::F16 => read(chunk, &mut single[..count], |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::Bf16 => read(chunk, &mut single[..count], |bytes| bf16::from_le_bytes(bytes).to_f32()),
        }
        let at = offset + i * BLOCK;
        if dtype == Dtype::F64 {
            take(at, Piece::Double(&double[..count]))?;
        } else {
            take(at, Piece::Single(&single[..count]))?;
        }
    }
    Ok(())
}

fn read<const SIZE: usize, T>(bytes: &[u8], out: &mut [T], value: impl Fn([u8; SIZE]) -> T) {
    for (chunk, out) in bytes.as_chunks::<SIZE>().0.iter().zip(out) {
        *out = value(*chunk);
    }
}
