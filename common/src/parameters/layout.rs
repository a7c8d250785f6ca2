//! Which tensors stand where in a buffer.

use std::ops::Range;
use std::sync::Arc;

use super::Dtype;
use crate::Digest;

/// The most tensors of a model.
pub const TENSORS_MAX: usize = 100_000;

/// The largest model, in bytes (64 GiB).
pub const PARAMETERS_BYTES_MAX: usize = 1 << 36;

/// The longest name of a tensor, in bytes.
const TENSOR_NAME_BYTES_MAX: usize = 256;

/// The most dimensions of a tensor.
const DIMENSIONS_MAX: usize = 8;

/// One tensor of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// As a PyTorch `state_dict` would have it: `0.weight`.
    pub name: String,
    /// How a value is stored.
    pub dtype: Dtype,
    /// Sizes of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Where the tensor begins in the buffer, in bytes.
    pub offset: usize,
}

impl Tensor {
    /// Number of values.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Where the tensor stands in the buffer, in bytes.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.count() * self.dtype.size()
    }
}

/// The tensors of a model, packed in safetensors' own order: larger types first, then by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<Tensor>,
    bytes: usize,
    digest: Digest,
}

/// A list of tensors that is no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Two tensors have one name.
    #[error("could not lay out tensors: the name `{0}` appears twice")]
    NameTwice(String),
    /// The name is empty or too long.
    #[error("could not lay out tensors: a name has {0} bytes, from 1 to {TENSOR_NAME_BYTES_MAX} are allowed")]
    NameLength(usize),
    /// Too many dimensions.
    #[error("could not lay out tensor `{0}`: more than {DIMENSIONS_MAX} dimensions")]
    TooManyDimensions(String),
    /// Too many tensors.
    #[error("could not lay out tensors: more than {TENSORS_MAX}")]
    TooManyTensors,
    /// Too many bytes.
    #[error("could not lay out tensors: more than {PARAMETERS_BYTES_MAX} bytes")]
    TooLarge,
}

impl Layout {
    /// The layout of these tensors, given in any order.
    ///
    /// # Errors
    /// A name twice, or a limit exceeded.
    pub fn new<N: Into<String>>(
        tensors: impl IntoIterator<Item = (N, Dtype, Vec<usize>)>,
    ) -> Result<Arc<Self>, LayoutError> {
        let mut all = Vec::new();
        for (name, dtype, shape) in tensors {
            let name = name.into();
            if name.is_empty() || name.len() > TENSOR_NAME_BYTES_MAX {
                return Err(LayoutError::NameLength(name.len()));
            }
            if shape.len() > DIMENSIONS_MAX {
                return Err(LayoutError::TooManyDimensions(name));
            }
            if all.len() == TENSORS_MAX {
                return Err(LayoutError::TooManyTensors);
            }
            all.push(Tensor { name, dtype, shape, offset: 0 });
        }
        all.sort_by(|a, b| {
            let by_type = b.dtype.to_safetensors().cmp(&a.dtype.to_safetensors());
            by_type.then_with(|| a.name.cmp(&b.name))
        });
        if let Some(pair) = all.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(LayoutError::NameTwice(pair[0].name.clone()));
        }
        let mut bytes = 0_usize;
        for tensor in &mut all {
            let size = tensor.shape.iter().try_fold(tensor.dtype.size(), |size, &dim| size.checked_mul(dim));
            tensor.offset = bytes;
            bytes = size
                .and_then(|size| bytes.checked_add(size))
                .filter(|&total| total <= PARAMETERS_BYTES_MAX)
                .ok_or(LayoutError::TooLarge)?;
        }
        let digest = digest(&all);
        Ok(Arc::new(Self { tensors: all, bytes, digest }))
    }

    /// The tensors in packed order.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of this name. Linear in the number of tensors.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// How this layout differs from the `expected` one, in words: the first tensor that is missing, has another shape or
    /// type, or is too many. `None` where both have the same digest.
    #[must_use]
    pub fn difference(&self, expected: &Self) -> Option<String> {
        if self.digest == expected.digest {
            return None;
        }
        let shown = |tensor: &Tensor| format!("{:?} of {}", tensor.shape, tensor.dtype);
        let wrong = expected.tensors.iter().find_map(|wanted| match self.find(&wanted.name) {
            None => Some(format!("it lacks tensor `{}` of the plan's layers, {}", wanted.name, shown(wanted))),
            Some(held) if (&held.shape, held.dtype) != (&wanted.shape, wanted.dtype) => {
                Some(format!("tensor `{}` is {}, by the plan's layers {}", held.name, shown(held), shown(wanted)))
            }
            Some(_) => None,
        });
        let foreign = || {
            let foreign = self.tensors.iter().find(|held| expected.find(&held.name).is_none())?;
            Some(format!("tensor `{}`, {}, is none of the plan's layers", foreign.name, shown(foreign)))
        };
        wrong.or_else(foreign)
    }

    /// Size of the buffer, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of values in all tensors.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tensors.iter().map(Tensor::count).sum()
    }

    /// The type of the values. Models have one; of a layout with several it is the first tensor's.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.tensors.first().map_or(Dtype::F32, |tensor| tensor.dtype)
    }

    /// BLAKE3 over names, types and shapes in packed order.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// A hasher that yields the digest of parameters once all packed bytes went in.
    #[must_use]
    pub fn hasher(&self) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.digest.0);
        hasher
    }
}

fn digest(tensors: &[Tensor]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for tensor in tensors {
        hasher.update(&(tensor.name.len() as u64).to_le_bytes());
        hasher.update(tensor.name.as_bytes());
        hasher.update(tensor.dtype.to_string().as_bytes());
        hasher.update(&(tensor.shape.len() as u64).to_le_bytes());
        for &size in &tensor.shape {
            hasher.update(&(size as u64).to_le_bytes());
        }
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_declaration_does_not_matter() {
        let a = Layout::new([("b", Dtype::F32, vec![2]), ("a", Dtype::F32, vec![3])]).unwrap();
        let b = Layout::new([("a", Dtype::F32, vec![3]), ("b", Dtype::F32, vec![2])]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.find("b").unwrap().range(), 12..20);
        assert_eq!((a.bytes(), a.count()), (20, 5));
    }

    #[test]
    fn a_difference_is_told_by_the_first_tensor_that_differs() {
        let one = |tensors: &[(&str, Vec<usize>)]| {
            Layout::new(tensors.iter().map(|(name, shape)| (*name, Dtype::F32, shape.clone()))).unwrap()
        };
        let expected = one(&[("a", vec![3]), ("b", vec![2])]);
        for (found, told) in [
            (one(&[("b", vec![2]), ("a", vec![3])]), None),
            (one(&[("b", vec![2])]), Some("it lacks tensor `a` of the plan's layers, [3] of f32")),
            (one(&[("a", vec![3]), ("b", vec![4])]), Some("tensor `b` is [4] of f32, by the plan's layers [2] of f32")),
            (
                one(&[("a", vec![3]), ("b", vec![2]), ("c", vec![])]),
                Some("tensor `c`, [] of f32, is none of the plan's layers"),
            ),
        ] {
            assert_eq!(found.difference(&expected).as_deref(), told);
        }
    }

    #[test]
    fn impossible_layouts_are_refused_before_anything_is_allocated() {
        let one = |name: &str, shape: Vec<usize>| Layout::new([(name, Dtype::F32, shape)]);
        assert_eq!(one("a", vec![usize::MAX, 2]).unwrap_err(), LayoutError::TooLarge);
        assert_eq!(one("a", vec![1 << 35]).unwrap_err(), LayoutError::TooLarge);
        assert_eq!(one("", vec![1]).unwrap_err(), LayoutError::NameLength(0));
        assert!(matches!(one("a", vec![1; 9]), Err(LayoutError::TooManyDimensions(_))));
        let twice = Layout::new([("a", Dtype::F32, vec![1]), ("a", Dtype::F32, vec![1])]);
        assert_eq!(twice.unwrap_err(), LayoutError::NameTwice("a".into()));
    }
}
