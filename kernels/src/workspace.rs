//! Scratch memory that outlives one step, so that training does not allocate.

use crate::real::Real;

/// Buffers that kernels grow when they need to and never shrink. One per training thread serves every layer.
///
/// What a kernel left here is garbage to the next one; nothing may rely on it.
#[derive(Debug, Default)]
pub struct Workspace<T> {
    pub(crate) columns: Vec<T>,
    #[cfg(target_arch = "x86_64")]
    pub(crate) direct: Direct,
}

/// What the direct convolution keeps between steps. It exists in single precision only.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Default)]
pub(crate) struct Direct {
    pub(crate) offsets: Vec<usize>,
    pub(crate) packed: Vec<f32>,
    pub(crate) padded: Vec<f32>,
    pub(crate) turned: Vec<f32>,
}

impl<T: Real> Workspace<T> {
    /// An empty workspace; the first step of each layer fills it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The first `len` elements of `buffer`, with whatever they held before.
pub(crate) fn take<T: Real>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::ZERO);
    }
    &mut buffer[..len]
}
