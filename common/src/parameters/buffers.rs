//! Memory of versions of one model that comes and goes.

use std::sync::Arc;

use bytes::Bytes;

use super::AlignedBuffer;

/// As many shared buffers are remembered: the last version of a model and the one before it.
const SHARED_MAX: usize = 2;

/// Buffers of versions of one model, used again once nobody reads them any more: fresh memory costs as much as to fill it.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    shared: Vec<Arc<AlignedBuffer>>,
}

impl Buffers {
    /// `len` bytes of any content.
    #[must_use]
    pub fn take(&mut self, len: usize) -> AlignedBuffer {
        let free = self.shared.iter().position(|buffer| Arc::strong_count(buffer) == 1);
        let free = free.and_then(|at| Arc::into_inner(self.shared.remove(at)));
        free.filter(|buffer| buffer.as_ref().len() == len).unwrap_or_else(|| AlignedBuffer::zeroed(len))
    }

    /// The bytes of `buffer`, shared and immutable; no copy.
    pub fn share(&mut self, buffer: AlignedBuffer) -> Bytes {
        let buffer = Arc::new(buffer);
        self.shared.truncate(SHARED_MAX - 1);
        self.shared.insert(0, Arc::clone(&buffer));
        Bytes::from_owner(Shared(buffer))
    }
}

struct Shared(Arc<AlignedBuffer>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_goes() {
        let mut buffers = Buffers::default();
        let mut lend = |value: u8| {
            let mut buffer = buffers.take(100);
            let at = buffer.as_ref().as_ptr();
            buffer.as_mut().fill(value);
            (buffers.share(buffer), at)
        };
        let (first, at_first) = lend(1);
        let (second, at_second) = lend(2);
        let reader = first.clone();
        drop(first);
        let (third, at_third) = lend(3);
        assert!(at_third != at_first && at_third != at_second, "both are read");
        assert_eq!((&reader[..], &second[..], &third[..]), (&[1; 100][..], &[2; 100][..], &[3; 100][..]));
        drop(second);
        let (fourth, at_fourth) = lend(4);
        assert_eq!((at_fourth, &fourth[..]), (at_second, &[4; 100][..]));
        assert_eq!(&reader[..], [1; 100]);
        assert_eq!(buffers.take(99).as_ref().len(), 99, "another model");
    }
}
