//! Memory of models and updates that come and go.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::AlignedBuffer;

/// Buffers that are used again once nobody reads them any more: fresh memory costs as much as to fill it, where an allocator
/// would give it back to the system. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Bytes that are lent, and that spare buffers have.
    used: usize,
    spare: Vec<AlignedBuffer>,
}

impl State {
    /// A spare buffer of `len`, or a fresh one where that leaves the pool within `max`; other spares make room for it.
    fn take(&mut self, len: usize, max: usize) -> Option<AlignedBuffer> {
        if let Some(at) = self.spare.iter().position(|spare| spare.as_ref().len() == len) {
            return Some(self.spare.swap_remove(at));
        }
        if self.used.saturating_add(len) > max {
            self.used -= self.spare.drain(..).map(|spare| spare.as_ref().len()).sum::<usize>();
        }
        self.used = self.used.checked_add(len).filter(|used| *used <= max)?;
        Some(AlignedBuffer::zeroed(len))
    }
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `len` bytes of any content, if what is lent and spare is at most `max` bytes with them.
    #[must_use]
    pub fn take(&self, len: usize, max: usize) -> Option<Pooled> {
        let buffer = self.state().take(len, max)?;
        Some(Pooled { buffer, home: Some(self.clone()) })
    }

    /// [`Pool::take`], or zeros that the pool does not get back.
    #[must_use]
    pub fn take_or_new(&self, len: usize, max: usize) -> Pooled {
        self.take(len, max).unwrap_or_else(|| Pooled { buffer: AlignedBuffer::zeroed(len), home: None })
    }

    /// Bytes that are lent, and that spare buffers have.
    #[must_use]
    pub fn used(&self) -> usize {
        self.state().used
    }
}

/// A buffer of a [`Pool`], which goes back to it when the last one who reads it goes.
pub struct Pooled {
    buffer: AlignedBuffer,
    home: Option<Pool>,
}

impl Pooled {
    /// The bytes, now shared and immutable; no copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

impl AsMut<[u8]> for Pooled {
    fn as_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut()
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.buffer.fmt(f)
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let buffer = std::mem::replace(&mut self.buffer, AlignedBuffer::zeroed(0));
            home.state().spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(buffer: &Pooled) -> *const u8 {
        buffer.as_ref().as_ptr()
    }

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_goes() {
        let pool = Pool::default();
        let lend = |value: u8| {
            let mut buffer = pool.take_or_new(100, 200);
            let at = place(&buffer);
            buffer.as_mut().fill(value);
            (buffer.into_bytes(), at)
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
        drop((reader, third, fourth));
        assert_eq!((pool.used(), pool.state().spare.len()), (200, 2), "the third was beyond the limit and is gone");
    }

    #[test]
    fn what_is_spare_makes_room_and_what_is_lent_does_not() {
        let pool = Pool::default();
        let (first, second) = (pool.take(100, 300).unwrap(), pool.take(100, 300).unwrap());
        drop(first);
        assert!(pool.take(201, 300).is_none(), "100 bytes are lent");
        let other = pool.take(200, 300).unwrap();
        assert_eq!((pool.used(), pool.state().spare.len()), (300, 0));
        assert!(pool.take(1, 300).is_none() && pool.take(usize::MAX, usize::MAX).is_none());
        drop((second, other));
        assert_eq!(pool.used(), 300);
    }
}
