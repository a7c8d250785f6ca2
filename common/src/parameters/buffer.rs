//! Memory aligned to a cache line, so that typed views and vector instructions fit.

use bytemuck::{Pod, Zeroable};
use bytes::Bytes;
use memmap2::MmapMut;

/// The alignment of every parameter buffer, in bytes: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;

/// A large page of memory, in bytes. From this size on a buffer has pages of its own: it is filled after one fault for each,
/// not after 512, and given back at once.
const PAGE_BYTES: usize = 2 << 20;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Block([u8; ALIGNMENT]);

/// Bytes at an address that is a multiple of [`ALIGNMENT`].
pub struct AlignedBuffer {
    memory: Memory,
    len: usize,
}

enum Memory {
    Blocks(Vec<Block>),
    Pages(MmapMut),
}

impl AlignedBuffer {
    /// `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let memory = pages(len)
            .map_or_else(|| Memory::Blocks(bytemuck::allocation::zeroed_vec(len.div_ceil(ALIGNMENT))), Memory::Pages);
        Self { memory, len }
    }

    /// A copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = Self::zeroed(bytes.len());
        buffer.as_mut().copy_from_slice(bytes);
        buffer
    }

    /// The bytes, now shared and immutable; no copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

/// Pages for a buffer that is worth them, if the system has any left.
fn pages(len: usize) -> Option<MmapMut> {
    if len < PAGE_BYTES {
        return None;
    }
    // Linux aligns a mapping of whole large pages to one. The rest of the last one is never touched and takes no memory.
    let pages = MmapMut::map_anon(len.next_multiple_of(PAGE_BYTES)).ok()?;
    // The end stays in small pages, and a system without large ones is slower, not wrong.
    #[cfg(target_os = "linux")]
    drop(pages.advise_range(memmap2::Advice::HugePage, 0, len / PAGE_BYTES * PAGE_BYTES));
    Some(pages)
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        match &self.memory {
            Memory::Blocks(blocks) => &bytemuck::cast_slice(blocks)[..self.len],
            Memory::Pages(pages) => &pages[..self.len],
        }
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Blocks(blocks) => &mut bytemuck::cast_slice_mut(blocks)[..self.len],
            Memory::Pages(pages) => &mut pages[..self.len],
        }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_is_aligned_and_has_its_length() {
        for len in [0, 1, 63, 64, 65, 1000, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 65] {
            assert!(AlignedBuffer::zeroed(len).as_ref().iter().all(|&byte| byte == 0));
            let mut buffer = AlignedBuffer::zeroed(len);
            buffer.as_mut().fill(7);
            let bytes = buffer.into_bytes();
            assert_eq!((bytes.len(), bytes.as_ptr().align_offset(ALIGNMENT)), (len, 0));
            assert!(bytes.iter().all(|&byte| byte == 7));
        }
    }
}
