//! Element types of tensors.

use std::fmt;

use half::{bf16, f16};
use tributary_kernels::widest::{self, Pass};

/// How one value is stored, always little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Brain float: 8 exponent bits, 7 mantissa bits.
    Bf16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision, the default.
    F32,
    /// IEEE double precision.
    F64,
}

impl Dtype {
    /// The names of all types, as typed in run files.
    pub const WORDS: [(&'static str, Self); 4] =
        [("bf16", Self::Bf16), ("f16", Self::F16), ("f32", Self::F32), ("f64", Self::F64)];

    /// Bytes a value.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The value in `chunk`, which has [`Dtype::size`] bytes.
    #[must_use]
    pub fn read(self, chunk: &[u8]) -> f64 {
        const WHY: &str = "a chunk has the size of its type";
        match self {
            Self::Bf16 => bf16::from_le_bytes(chunk.try_into().expect(WHY)).to_f64(),
            Self::F16 => f16::from_le_bytes(chunk.try_into().expect(WHY)).to_f64(),
            Self::F32 => f64::from(f32::from_le_bytes(chunk.try_into().expect(WHY))),
            Self::F64 => f64::from_le_bytes(chunk.try_into().expect(WHY)),
        }
    }

    /// Writes `value`, rounded once to this type, into `chunk`.
    pub fn write(self, value: f64, chunk: &mut [u8]) {
        match self {
            Self::Bf16 => chunk.copy_from_slice(&bf16::from_f64(value).to_le_bytes()),
            Self::F16 => chunk.copy_from_slice(&f16::from_f64(value).to_le_bytes()),
            #[expect(clippy::cast_possible_truncation, reason = "rounding to the type is the purpose")]
            Self::F32 => chunk.copy_from_slice(&(value as f32).to_le_bytes()),
            Self::F64 => chunk.copy_from_slice(&value.to_le_bytes()),
        }
    }

    /// Reads as many values as `out` has from `bytes`, which holds exactly these.
    pub fn read_all(self, bytes: &[u8], out: &mut [f64]) {
        assert_eq!(bytes.len(), out.len() * self.size(), "the bytes hold as many values as are read");
        match self {
            Self::Bf16 => read_each(bytes, out, |chunk| bf16::from_le_bytes(chunk).to_f64()),
            Self::F16 => read_each(bytes, out, |chunk| f16::from_le_bytes(chunk).to_f64()),
            Self::F32 => read_each(bytes, out, |chunk| f64::from(f32::from_le_bytes(chunk))),
            Self::F64 => read_each(bytes, out, f64::from_le_bytes),
        }
    }

    /// Writes `values`, each rounded once to this type, into `bytes`, which holds exactly these.
    pub fn write_all(self, values: &[f64], bytes: &mut [u8]) {
        assert_eq!(bytes.len(), values.len() * self.size(), "the bytes hold as many values as are written");
        match self {
            Self::Bf16 => write_each(values, bytes, |value| bf16::from_f64(value).to_le_bytes()),
            Self::F16 => write_each(values, bytes, |value| f16::from_f64(value).to_le_bytes()),
            #[expect(clippy::cast_possible_truncation, reason = "rounding to the type is the purpose")]
            Self::F32 => write_each(values, bytes, |value| (value as f32).to_le_bytes()),
            Self::F64 => write_each(values, bytes, f64::to_le_bytes),
        }
    }

    pub(super) const fn to_safetensors(self) -> safetensors::Dtype {
        match self {
            Self::Bf16 => safetensors::Dtype::BF16,
            Self::F16 => safetensors::Dtype::F16,
            Self::F32 => safetensors::Dtype::F32,
            Self::F64 => safetensors::Dtype::F64,
        }
    }

    pub(super) const fn of_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        match dtype {
            safetensors::Dtype::BF16 => Some(Self::Bf16),
            safetensors::Dtype::F16 => Some(Self::F16),
            safetensors::Dtype::F32 => Some(Self::F32),
            safetensors::Dtype::F64 => Some(Self::F64),
            _ => None,
        }
    }
}

/// The loop of [`Dtype::read_all`]: without the choice of the type inside, it vectorises.
struct ReadEach<'a, F, const SIZE: usize> {
    bytes: &'a [[u8; SIZE]],
    out: &'a mut [f64],
    value: F,
}

impl<F: Fn([u8; SIZE]) -> f64, const SIZE: usize> Pass for ReadEach<'_, F, SIZE> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        for (out, chunk) in self.out.iter_mut().zip(self.bytes) {
            *out = (self.value)(*chunk);
        }
    }
}

/// The loop of [`Dtype::write_all`].
struct WriteEach<'a, F, const SIZE: usize> {
    values: &'a [f64],
    bytes: &'a mut [[u8; SIZE]],
    chunk: F,
}

impl<F: Fn(f64) -> [u8; SIZE], const SIZE: usize> Pass for WriteEach<'_, F, SIZE> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        for (out, value) in self.bytes.iter_mut().zip(self.values) {
            *out = (self.chunk)(*value);
        }
    }
}

fn read_each<const SIZE: usize>(bytes: &[u8], out: &mut [f64], value: impl Fn([u8; SIZE]) -> f64) {
    widest::run(ReadEach { bytes: bytes.as_chunks().0, out, value });
}

fn write_each<const SIZE: usize>(values: &[f64], bytes: &mut [u8], chunk: impl Fn(f64) -> [u8; SIZE]) {
    widest::run(WriteEach { values, bytes: bytes.as_chunks_mut().0, chunk });
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, _) = Self::WORDS.iter().find(|(_, dtype)| dtype == self).expect("every type has a word");
        f.write_str(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_values_survive_every_type() {
        for (_, dtype) in Dtype::WORDS {
            let mut chunk = vec![0; dtype.size()];
            dtype.write(-1.5, &mut chunk);
            assert!((dtype.read(&chunk) + 1.5).abs() < f64::EPSILON, "{dtype}");
        }
    }

    #[test]
    fn many_values_are_read_and_written_like_one() {
        let values = [0.1, -2.7, 1e30, 65_504.0, -0.0];
        for (_, dtype) in Dtype::WORDS {
            let (mut one, mut all) = (vec![0; 5 * dtype.size()], vec![0; 5 * dtype.size()]);
            one.chunks_exact_mut(dtype.size()).zip(values).for_each(|(chunk, value)| dtype.write(value, chunk));
            dtype.write_all(&values, &mut all);
            assert_eq!(all, one, "{dtype}");
            let mut read = [0.0; 5];
            dtype.read_all(&all, &mut read);
            let expected = one.chunks_exact(dtype.size()).map(|chunk| dtype.read(chunk).to_bits());
            assert!(read.iter().map(|value| value.to_bits()).eq(expected), "{dtype}");
        }
    }
}
