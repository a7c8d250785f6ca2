//! Updates on their way: small ones in memory, the others in temporary files. What the journal has kept is read from there.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tempfile::TempPath;
use tributary_common::parameters::AlignedBuffer;

use crate::aggregate::Kept;
use crate::store::journal::{KeptUpdate, Payload, SEGMENT_PAYLOAD_BYTES_MAX};

/// Where spools are made, with the memory that they may take together.
#[derive(Clone, Debug)]
pub(super) struct Spools {
    folder: PathBuf,
    /// What is larger goes to a file even where memory is left, in bytes.
    largest: u64,
    memory_max: usize,
    memory_used: Arc<AtomicUsize>,
}

impl Spools {
    /// Spools in the journal's `folder`, where what does not fit its segment becomes a file anyway; without one only the
    /// memory limits.
    pub(super) fn new(folder: Option<PathBuf>, memory_max: usize) -> Self {
        let largest = if folder.is_some() { SEGMENT_PAYLOAD_BYTES_MAX } else { u64::MAX };
        let folder = folder.unwrap_or_else(std::env::temp_dir);
        Self { folder, largest, memory_max, memory_used: Arc::new(AtomicUsize::new(0)) }
    }

    /// A spool for `bytes`; what is too large for memory goes into `file`, or into one without a name of its own.
    pub(super) fn open(&self, bytes: u64, file: Option<PathBuf>) -> io::Result<Spool> {
        let small = usize::try_from(bytes).ok().filter(|_| bytes <= self.largest);
        if let Some(bytes) = small.filter(|bytes| self.reserve(*bytes)) {
            let lease = Lease { bytes, used: Arc::clone(&self.memory_used) };
            return Ok(Spool(Inner::Memory { buffer: AlignedBuffer::zeroed(bytes), held: 0, lease }));
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
    File { file: File, path: Option<TempPath> },
    /// Kept by an earlier process.
    Kept(KeptUpdate),
    /// `held` bytes of the buffer are written.
    Memory { buffer: AlignedBuffer, held: usize, lease: Lease },
    /// In memory, and on its way into the journal.
    Shared { bytes: Bytes, _lease: Lease },
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
            Inner::Memory { buffer, held, .. } => {
                let room = buffer.as_mut().get_mut(*held..*held + block.len()).ok_or(ErrorKind::FileTooLarge)?;
                room.copy_from_slice(block);
                *held += block.len();
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
            Inner::Memory { buffer, lease, .. } => {
                let bytes = std::mem::replace(buffer, AlignedBuffer::zeroed(0)).into_bytes();
                let lease = Lease { bytes: std::mem::take(&mut lease.bytes), used: Arc::clone(&lease.used) };
                self.0 = Inner::Shared { bytes: bytes.clone(), _lease: lease };
                Ok(Some(Payload::Bytes(bytes)))
            }
        }
    }
}

impl Kept for Spool {
    fn read<'a>(&'a self, range: Range<usize>, scratch: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let at = range.start as u64;
        match &self.0 {
            Inner::Memory { buffer, .. } => return Ok(&buffer.as_ref()[range]),
            Inner::Shared { bytes, .. } => return Ok(&bytes[range]),
            Inner::Kept(kept) => {
                scratch.resize(range.len(), 0);
                kept.read_at(at, scratch)?;
            }
            Inner::File { file, .. } => {
                scratch.resize(range.len(), 0);
                file.read_exact_at(scratch, at)?;
            }
        }
        Ok(scratch)
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
        let mut scratch = Vec::new();
        assert_eq!(spool.read(0..len, &mut scratch).unwrap(), bytes);
        let middle = len / 2..len / 2 + len / 3;
        assert_eq!(spool.read(middle.clone(), &mut scratch).unwrap(), &bytes[middle]);
        is_memory
    }

    #[test]
    fn updates_stay_in_memory_until_the_budget_is_spent() {
        let large = usize::try_from(SEGMENT_PAYLOAD_BYTES_MAX).unwrap() + 1;
        let folder = tempfile::tempdir().unwrap();
        let durable = Spools::new(Some(folder.path().to_owned()), 2 * large);
        assert!(round_trip(&durable, large - 1));
        assert!(!round_trip(&durable, large), "the journal keeps it as a file");
        assert!(round_trip(&Spools::new(None, 2 * large), large));
        let spools = Spools::new(None, 3000);
        assert!(round_trip(&spools, 2000));
        let held = spools.open(2000, None).unwrap();
        assert!(!round_trip(&spools, 2000), "the budget is taken");
        drop(held);
        assert!(round_trip(&spools, 2000), "and given back");
    }
}
