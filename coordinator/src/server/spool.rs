//! Updates on their way: small ones in memory, the others in temporary files. What the journal has kept is read from there.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use tempfile::TempPath;
use tributary_common::parameters::{Pool, Pooled};

use crate::aggregate::Kept;
use crate::store::journal::{KeptUpdate, Payload, SEGMENT_PAYLOAD_BYTES_MAX};

/// Where spools are made, with the memory that they may take together.
#[derive(Clone, Debug)]
pub(super) struct Spools {
    folder: PathBuf,
    /// What is larger goes to a file even where memory is left, in bytes.
    largest: u64,
    memory: Pool,
    memory_max: usize,
}

impl Spools {
    /// Spools in the journal's `folder`, where what does not fit its segment becomes a file anyway; without one only the
    /// memory limits.
    pub(super) fn new(folder: Option<PathBuf>, memory_max: usize) -> Self {
        let largest = if folder.is_some() { SEGMENT_PAYLOAD_BYTES_MAX } else { u64::MAX };
        let folder = folder.unwrap_or_else(std::env::temp_dir);
        Self { folder, largest, memory: Pool::default(), memory_max }
    }

    /// A spool for `bytes`; what is too large for memory goes into `file`, or into one without a name of its own.
    pub(super) fn open(&self, bytes: u64, file: Option<PathBuf>) -> io::Result<Spool> {
        let small = usize::try_from(bytes).ok().filter(|_| bytes <= self.largest);
        if let Some(memory) = small.and_then(|bytes| self.memory.take(bytes, self.memory_max)) {
            return Ok(Spool(Inner::Memory { memory, held: 0 }));
        }
        let Some(path) = file else {
            let (file, path) = tempfile::NamedTempFile::new_in(&self.folder)?.into_parts();
            return Ok(Spool::of_file(file, path));
        };
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(Spool::of_file(file, TempPath::try_from_path(path)?))
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
    Memory { memory: Pooled, held: usize },
    /// In memory, and on its way into the journal.
    Shared(Bytes),
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
            Inner::Memory { memory, held } => {
                let room = memory.as_mut().get_mut(*held..*held + block.len()).ok_or(ErrorKind::FileTooLarge)?;
                room.copy_from_slice(block);
                *held += block.len();
                Ok(())
            }
            Inner::Kept(_) | Inner::Shared(_) => Err(ErrorKind::PermissionDenied.into()),
        }
    }

    /// The update for the journal. It stays readable here; nothing is if the journal has it already.
    pub(super) fn payload(&mut self) -> io::Result<Option<Payload>> {
        match std::mem::replace(&mut self.0, Inner::Shared(Bytes::new())) {
            Inner::File { file, path: Some(path) } => {
                let copy = file.try_clone();
                self.0 = Inner::File { file, path: None };
                Ok(Some(Payload::File { file: copy?, path }))
            }
            Inner::Memory { memory, held } => {
                let bytes = memory.into_bytes().slice(..held);
                self.0 = Inner::Shared(bytes.clone());
                Ok(Some(Payload::Bytes(bytes)))
            }
            other => {
                self.0 = other;
                Ok(None)
            }
        }
    }
}

impl Kept for Spool {
    fn read<'a>(&'a self, range: Range<usize>, scratch: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let at = range.start as u64;
        match &self.0 {
            Inner::Memory { memory, held } if range.end <= *held => return Ok(&memory.as_ref()[range]),
            Inner::Memory { .. } => return Err(ErrorKind::UnexpectedEof.into()),
            Inner::Shared(bytes) => return Ok(&bytes[range]),
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

    #[test]
    fn a_buffer_is_used_again_and_makes_room_for_others() {
        let spools = Spools::new(None, 3000);
        let at = |spool: &Spool| match &spool.0 {
            Inner::Memory { memory, .. } => memory.as_ref().as_ptr(),
            _ => panic!("not in memory"),
        };
        let first = spools.open(2000, None).unwrap();
        let place = at(&first);
        drop(first);
        assert_eq!(spools.memory.used(), 2000);
        let second = spools.open(2000, None).unwrap();
        assert_eq!(at(&second), place);
        let mut scratch = Vec::new();
        assert!(second.read(0..1, &mut scratch).is_err(), "what another update left is not read");
        drop(second);
        assert!(round_trip(&spools, 3000), "what is spare makes room");
    }
}
