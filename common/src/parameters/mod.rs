//! All tensors of a model, or of an update, in one contiguous aligned buffer.

mod buffer;
mod dtype;
mod layout;
mod pool;
pub mod safetensors;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tributary_kernels::widest::{self, Pass};

pub use buffer::{ALIGNMENT, AlignedBuffer};
pub use dtype::Dtype;
pub use layout::{Layout, LayoutError, PARAMETERS_BYTES_MAX, TENSORS_MAX, Tensor};
pub use pool::{Pool, Pooled};

use crate::Digest;

/// Values of which squares are summed at once: few enough for the first-level cache.
const NORM_BLOCK: usize = 1024;

/// Sums of squares that grow side by side: one alone waits for every addition before the next.
const NORM_LANES: usize = 8;

/// The tensors that [`Layout`] describes, as little-endian bytes. Cloning costs two reference counts.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameters {
    layout: Arc<Layout>,
    bytes: Bytes,
}

/// The buffer does not have the layout's size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not take bytes as parameters: the layout needs {expected} bytes, got {got}")]
pub struct WrongSize {
    /// What the layout needs.
    pub expected: usize,
    /// What was there.
    pub got: usize,
}

impl Parameters {
    /// Parameters over `bytes`, without a copy if these are aligned to [`ALIGNMENT`].
    ///
    /// # Errors
    /// The size is not the layout's.
    pub fn new(layout: Arc<Layout>, bytes: Bytes) -> Result<Self, WrongSize> {
        if bytes.len() != layout.bytes() {
            return Err(WrongSize { expected: layout.bytes(), got: bytes.len() });
        }
        let aligned = bytes.as_ptr().align_offset(ALIGNMENT) == 0;
        let bytes = if aligned { bytes } else { AlignedBuffer::copy_of(&bytes).into_bytes() };
        Ok(Self { layout, bytes })
    }

    /// All zeros.
    #[must_use]
    pub fn zeros(layout: Arc<Layout>) -> Self {
        let bytes = AlignedBuffer::zeroed(layout.bytes()).into_bytes();
        Self { layout, bytes }
    }

    /// Parameters of `values` in packed order, each rounded once to its tensor's type: what [`Parameters::values`] yields.
    ///
    /// # Panics
    /// If there are fewer values or more than the layout's.
    #[must_use]
    pub fn of_values(layout: Arc<Layout>, values: impl IntoIterator<Item = f64>) -> Self {
        let mut buffer = AlignedBuffer::zeroed(layout.bytes());
        let mut values = values.into_iter();
        for tensor in layout.tensors() {
            for chunk in buffer.as_mut()[tensor.range()].chunks_exact_mut(tensor.dtype.size()) {
                tensor.dtype.write(values.next().expect("as many values as the layout's are given"), chunk);
            }
        }
        assert!(values.next().is_none(), "no more values than the layout's are given");
        Self { layout, bytes: buffer.into_bytes() }
    }

    /// The layout.
    #[must_use]
    pub const fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// All tensors, packed.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes of one tensor.
    #[must_use]
    pub fn tensor(&self, tensor: &Tensor) -> &[u8] {
        &self.bytes[tensor.range()]
    }

    /// BLAKE3(layout digest ‖ packed bytes): the model's name, whatever file it is in.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = self.layout.hasher();
        hasher.update(&self.bytes);
        hasher.finalize().into()
    }

    /// Every value as a double, in packed order. Costs nothing but the iteration.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.layout.tensors().iter().flat_map(|tensor| {
            let (dtype, bytes) = (tensor.dtype, self.tensor(tensor));
            bytes.chunks_exact(dtype.size()).map(move |chunk| dtype.read(chunk))
        })
    }

    /// The Euclidean norm over all values, summed in double precision and in one fixed order.
    #[must_use]
    pub fn norm(&self) -> f64 {
        libm::sqrt(self.layout.tensors().iter().map(|tensor| squares_of(tensor.dtype, self.tensor(tensor))).sum())
    }

    /// The name of the first tensor that holds an infinity or a NaN.
    #[must_use]
    pub fn non_finite_tensor(&self) -> Option<&str> {
        let tensors = self.layout.tensors();
        let bad = tensors.iter().find(|tensor| {
            let dtype = tensor.dtype;
            self.tensor(tensor).chunks_exact(dtype.size()).any(|chunk| !dtype.read(chunk).is_finite())
        });
        bad.map(|tensor| tensor.name.as_str())
    }
}

/// The sum of the squares of packed values, in double precision and in one fixed order.
#[must_use]
pub fn squares_of(dtype: Dtype, bytes: &[u8]) -> f64 {
    let mut block = [0.0; NORM_BLOCK];
    let mut sum = 0.0;
    for bytes in bytes.chunks(NORM_BLOCK * dtype.size()) {
        let values = &mut block[..bytes.len() / dtype.size()];
        dtype.read_all(bytes, values);
        sum += widest::run(Squares(values));
    }
    sum
}

/// The sum of squares, lane by lane and then over the lanes: the same order on every machine.
struct Squares<'a>(&'a [f64]);

impl Pass for Squares<'_> {
    type Out = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (rows, rest) = self.0.as_chunks::<NORM_LANES>();
        let mut lanes = [0.0; NORM_LANES];
        for row in rows {
            lanes.iter_mut().zip(row).for_each(|(lane, value)| *lane += value * value);
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, value)| *lane += value * value);
        lanes.iter().sum()
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({} tensors, {} bytes)", self.layout.tensors().len(), self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Arc<Layout> {
        Layout::new([("0.weight", Dtype::F32, vec![2, 3]), ("0.bias", Dtype::F32, vec![2])]).unwrap()
    }

    #[test]
    fn unaligned_bytes_are_copied_into_place_and_wrong_sizes_refused() {
        let raw = Bytes::from(vec![1; 33]).slice(1..);
        let parameters = Parameters::new(layout(), raw).unwrap();
        assert_eq!(parameters.bytes().as_ptr().align_offset(ALIGNMENT), 0);
        assert_eq!(Parameters::new(layout(), Bytes::new()).unwrap_err(), WrongSize { expected: 32, got: 0 });
    }

    #[test]
    fn digest_depends_on_layout_and_on_every_byte() {
        let zeros = Parameters::zeros(layout());
        let other = Layout::new([("0.weight", Dtype::F32, vec![3, 2]), ("0.bias", Dtype::F32, vec![2])]).unwrap();
        assert_ne!(zeros.digest(), Parameters::zeros(other).digest());
        let mut bytes = vec![0; 32];
        bytes[31] = 1;
        assert_ne!(zeros.digest(), Parameters::new(layout(), bytes.into()).unwrap().digest());
    }

    #[test]
    fn values_come_back_in_packed_order() {
        let layout = Layout::new([("a", Dtype::F64, vec![2]), ("b", Dtype::F32, vec![2])]).unwrap();
        let values = [0.1, -2.0, 3.0, 0.5];
        let parameters = Parameters::of_values(layout, values);
        assert_eq!(parameters.values().map(f64::to_bits).collect::<Vec<_>>(), values.map(f64::to_bits));
    }

    #[test]
    fn norm_is_that_of_the_definition_in_every_type_and_length() {
        for (_, dtype) in Dtype::WORDS {
            for count in [1, 7, 8, 1023, 1024, 1025, 5000] {
                let layout = Layout::new([("a", dtype, vec![count]), ("b", dtype, vec![3])]).unwrap();
                let mut bytes = vec![0; layout.bytes()];
                bytes.chunks_exact_mut(dtype.size()).for_each(|chunk| dtype.write(-0.5, chunk));
                let parameters = Parameters::new(layout, bytes.into()).unwrap();
                let expected = 0.5 * f64::from(u32::try_from(count + 3).unwrap()).sqrt();
                assert!((parameters.norm() - expected).abs() < 1e-12, "{dtype} {count}");
            }
        }
    }

    #[test]
    fn non_finite_value_names_its_tensor() {
        let mut bytes = vec![0; 32];
        bytes[12..16].copy_from_slice(&f32::NAN.to_le_bytes());
        let parameters = Parameters::new(layout(), bytes.into()).unwrap();
        assert_eq!(parameters.non_finite_tensor(), Some("0.weight"));
    }
}
