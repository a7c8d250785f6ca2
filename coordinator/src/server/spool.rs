//! Updates on their way: small ones in memory, the others in files without a name, which vanish with the process.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::aggregate::Kept;

/// Updates up to this size may be kept in memory, in bytes.
const SMALL_BYTES: usize = 256 * 1024;

/// What is read of a file at once, in bytes: stays in a second-level cache.
const BLOCK_BYTES: usize = 1 << 20;

/// Where spools are made, with the memory that they may take together.
#[derive(Clone, Debug)]
pub(super) struct Spools {
    folder: PathBuf,
    memory_max: usize,
    memory_used: Arc<AtomicUsize>,
}

impl Spools {
    pub(super) fn new(folder: Option<PathBuf>, memory_max: usize) -> Self {
        let folder = folder.unwrap_or_else(std::env::temp_dir);
        Self { folder, memory_max, memory_used: Arc::new(AtomicUsize::new(0)) }
    }

    /// A spool for `bytes`.
    pub(super) fn open(&self, bytes: u64) -> io::Result<Spool> {
        let small = usize::try_from(bytes).ok().filter(|bytes| *bytes <= SMALL_BYTES);
        if let Some(bytes) = small.filter(|bytes| self.reserve(*bytes)) {
            let lease = Lease { bytes, used: Arc::clone(&self.memory_used) };
            return Ok(Spool(Inner::Memory { bytes: Vec::with_capacity(bytes), _lease: lease }));
        }
        Ok(Spool(Inner::File(tempfile::tempfile_in(&self.folder)?)))
    }

    fn reserve(&self, bytes: usize) -> bool {
        let reserve = |used: usize| used.checked_add(bytes).filter(|total| *total <= self.memory_max);
        self.memory_used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_ok()
    }
}

/// Memory that is given back when the spool goes.
#[derive(Debug)]
struct Lease {
    bytes: usize,
    used: Arc<AtomicUsize>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One update, written once in order, then read.
#[derive(Debug)]
pub(super) struct Spool(Inner);

#[derive(Debug)]
enum Inner {
    File(File),
    Memory { bytes: Vec<u8>, _lease: Lease },
}

impl Spool {
    pub(super) fn write(&mut self, block: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Inner::File(file) => file.write_all(block),
            Inner::Memory { bytes, .. } => {
                bytes.extend_from_slice(block);
                Ok(())
            }
        }
    }
}

impl Kept for Spool {
    fn read_at(&mut self, at: usize, out: &mut [u8]) -> io::Result<()> {
        match &mut self.0 {
            Inner::Memory { bytes, .. } => out.copy_from_slice(&bytes[at..at + out.len()]),
            Inner::File(file) => {
                file.seek(SeekFrom::Start(at as u64))?;
                file.read_exact(out)?;
            }
        }
        Ok(())
    }

    fn read_all(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        match &mut self.0 {
            Inner::Memory { bytes, .. } => take(bytes),
            Inner::File(file) => {
                let mut left = file.metadata()?.len();
                let mut block = vec![0; BLOCK_BYTES.min(usize::try_from(left).unwrap_or(BLOCK_BYTES))];
                file.seek(SeekFrom::Start(0))?;
                while left > 0 {
                    let count = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    file.read_exact(&mut block[..count])?;
                    take(&block[..count]);
                    left -= count as u64;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(spools: &Spools, len: usize) -> bool {
        let mut spool = spools.open(len as u64).unwrap();
        let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        bytes.chunks(1000).for_each(|block| spool.write(block).unwrap());
        let is_memory = matches!(spool.0, Inner::Memory { .. });
        let mut back = Vec::new();
        spool.read_all(&mut |block| back.extend_from_slice(block)).unwrap();
        assert_eq!(back, bytes);
        let mut middle = vec![0; len / 3];
        spool.read_at(len / 2, &mut middle).unwrap();
        assert_eq!(middle, bytes[len / 2..len / 2 + len / 3]);
        is_memory
    }

    #[test]
    fn small_updates_stay_in_memory_until_the_budget_is_spent() {
        let spools = Spools::new(None, 3000);
        assert!(round_trip(&spools, 2000));
        assert!(!round_trip(&spools, SMALL_BYTES + 1));
        let held = spools.open(2000).unwrap();
        assert!(!round_trip(&spools, 2000), "the budget is taken");
        drop(held);
        assert!(round_trip(&spools, 2000), "and given back");
    }
}
