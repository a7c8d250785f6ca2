//! Updates on their way: small ones in memory, the others in temporary files. What the journal has kept is read from there.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tempfile::TempPath;

use crate::aggregate::Kept;
use crate::store::journal::{KeptUpdate, Payload, SEGMENT_PAYLOAD_BYTES_MAX};

/// What is read of a file at once, in bytes: stays in a second-level cache.
const BLOCK_BYTES: usize = 1 << 20;

/// Where spools are made, with the memory that they may take together. What fits a journal's segment may stay in memory.
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

    /// A spool for `bytes`; what is too large for memory goes into `file`, or into one without a name of its own.
    pub(super) fn open(&self, bytes: u64, file: Option<PathBuf>) -> io::Result<Spool> {
        let small = usize::try_from(bytes).ok().filter(|_| bytes <= SEGMENT_PAYLOAD_BYTES_MAX);
        if let Some(bytes) = small.filter(|bytes| self.reserve(*bytes)) {
            let lease = Lease { bytes, used: Arc::clone(&self.memory_used) };
            return Ok(Spool(Inner::Memory { bytes: Vec::with_capacity(bytes), lease }));
        }
        let Some(path) = file else {
            let (file, path) = tempfile::NamedTempFile::new_in(&self.folder)?.into_parts();
            return Ok(Spool::of_file(file, path));
        };
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(Spool::of_file(file, TempPath::try_from_path(path)?))
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
    /// Its name is temporary until the journal takes it over.
    File {
        file: File,
        path: Option<TempPath>,
    },
    /// Kept by an earlier process.
    Kept(KeptUpdate),
    Memory {
        bytes: Vec<u8>,
        lease: Lease,
    },
    /// In memory, and on its way into the journal.
    Shared {
        bytes: Bytes,
        _lease: Lease,
    },
}

impl From<KeptUpdate> for Spool {
    fn from(kept: KeptUpdate) -> Self {
        Self(Inner::Kept(kept))
    }
}

impl Spool {
    /// A file that holds the beginning of an update, or nothing yet; it is written at its end.
    pub(super) const fn of_file(file: File, path: TempPath) -> Self {
        Self(Inner::File { file, path: Some(path) })
    }

    /// Closes a spool that is a file with a name; any other stays what it is.
    pub(super) fn into_path(self) -> Result<TempPath, Self> {
        match self.0 {
            Inner::File { path: Some(path), .. } => Ok(path),
            other => Err(Self(other)),
        }
    }

    pub(super) fn write(&mut self, block: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Inner::File { file, .. } => file.write_all(block),
            Inner::Memory { bytes, .. } => {
                bytes.extend_from_slice(block);
                Ok(())
            }
            Inner::Kept(_) | Inner::Shared { .. } => Err(ErrorKind::PermissionDenied.into()),
        }
    }

    /// The update for the journal. It stays readable here; nothing is if the journal has it already.
    pub(super) fn payload(&mut self) -> io::Result<Option<Payload>> {
        match &mut self.0 {
            Inner::File { file, path } => {
                let Some(path) = path.take() else { return Ok(None) };
                Ok(Some(Payload::File { file: file.try_clone()?, path }))
            }
            Inner::Kept(_) | Inner::Shared { .. } => Ok(None),
            Inner::Memory { bytes, lease } => {
                let bytes = Bytes::from(std::mem::take(bytes));
                let lease = Lease { bytes: std::mem::take(&mut lease.bytes), used: Arc::clone(&lease.used) };
                self.0 = Inner::Shared { bytes: bytes.clone(), _lease: lease };
                Ok(Some(Payload::Bytes(bytes)))
            }
        }
    }
}

impl Kept for Spool {
    fn read_at(&mut self, at: usize, out: &mut [u8]) -> io::Result<()> {
        match &mut self.0 {
            Inner::Memory { bytes, .. } => out.copy_from_slice(&bytes[at..at + out.len()]),
            Inner::Shared { bytes, .. } => out.copy_from_slice(&bytes[at..at + out.len()]),
            Inner::Kept(kept) => return kept.read_at(at as u64, out),
            Inner::File { file, .. } => {
                file.seek(SeekFrom::Start(at as u64))?;
                file.read_exact(out)?;
            }
        }
        Ok(())
    }

    fn read_all(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        match &mut self.0 {
            Inner::Memory { bytes, .. } => take(bytes),
            Inner::Shared { bytes, .. } => take(bytes),
            Inner::Kept(kept) => return kept.read(take),
            Inner::File { file, .. } => {
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
        let mut spool = spools.open(len as u64, None).unwrap();
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
        assert!(!round_trip(&spools, usize::try_from(SEGMENT_PAYLOAD_BYTES_MAX).unwrap() + 1));
        let held = spools.open(2000, None).unwrap();
        assert!(!round_trip(&spools, 2000), "the budget is taken");
        drop(held);
        assert!(round_trip(&spools, 2000), "and given back");
    }
}
