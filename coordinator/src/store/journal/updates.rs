//! The accepted updates of the open round: small ones in one segment, the others in files named by their digests.
//!
//! They are there until the round's commit or abort is durable; a restart folds them again instead of asking for them.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempPath;
use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket};
use tributary_common::parameters::{Layout, Parameters};

use super::super::{Durability, Error, disk, io};
use super::entry::{Entry, Place};
use crate::round::Row;

/// The largest update that goes into a segment, in bytes: above it one more fsync is small beside the writing.
pub const SEGMENT_PAYLOAD_BYTES_MAX: u64 = 256 * 1024;

/// What is read of a file at once, in bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// An update that came, before it is kept.
#[derive(Debug)]
pub enum Payload {
    /// In memory; goes into the round's segment.
    Bytes(Bytes),
    /// In a temporary file of the folder for updates; gets its name there.
    File {
        /// The file.
        file: File,
        /// Its temporary name.
        path: TempPath,
    },
}

/// An update that a restart found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptUpdate {
    /// Whose.
    pub client: ClientId,
    /// The round's.
    pub ticket: Ticket,
    /// Its digest.
    pub digest: Digest,
    /// The file that it is in.
    pub path: PathBuf,
    /// Where it begins there.
    pub offset: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl KeptUpdate {
    /// Hands the update on in order, block by block.
    ///
    /// # Errors
    /// It cannot be read, or ends early.
    pub fn read(&self, mut take: impl FnMut(&[u8])) -> std::io::Result<()> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut left = usize::try_from(self.bytes).map_err(std::io::Error::other)?;
        let mut block = vec![0; BLOCK_BYTES.min(left)];
        while left > 0 {
            let count = block.len().min(left);
            file.read_exact(&mut block[..count])?;
            take(&block[..count]);
            left -= count;
        }
        Ok(())
    }

    /// Fills `out` with what stands `at` bytes behind the update's beginning.
    ///
    /// # Errors
    /// It cannot be read, or ends early.
    pub fn read_at(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        File::open(&self.path)?.read_exact_at(out, self.offset + at)
    }

    /// The update in memory.
    ///
    /// # Errors
    /// It cannot be read, or is no update of this layout.
    pub fn load(&self, layout: &Arc<Layout>) -> Result<Parameters, Error> {
        let mut bytes = Vec::with_capacity(layout.bytes());
        self.read(|block| bytes.extend_from_slice(block)).map_err(io(&self.path))?;
        Parameters::new(Arc::clone(layout), bytes.into())
            .map_err(|error| Error::Broken { path: self.path.clone(), why: error.to_string() })
    }

    /// Whether the bytes are those that were acknowledged.
    ///
    /// # Errors
    /// They are not, or cannot be read.
    pub fn check(&self, layout: &Layout) -> Result<(), Error> {
        let broken = |why: String| Error::Broken {
            path: self.path.clone(),
            why: format!("the accepted update of {} for {}: {why}", self.client, self.ticket),
        };
        let mut hasher = layout.hasher();
        self.read(|block| _ = hasher.update(block)).map_err(|error| broken(error.to_string()))?;
        let found: Digest = hasher.finalize().into();
        if found == self.digest {
            Ok(())
        } else {
            Err(broken(format!("its digest is {}, the journal says {}", found.short(), self.digest.short())))
        }
    }
}

/// The updates of the open round that `entries` end in.
pub(super) fn kept(folder: &Path, entries: &[Entry]) -> Vec<KeptUpdate> {
    let begin = entries.iter().rposition(|entry| entry.body.recorded.row.ends_round()).map_or(0, |last| last + 1);
    let kept = entries[begin..].iter().filter_map(|entry| {
        let (Row::UpdateAccepted { ticket, client, digest, .. }, Some(place)) =
            (&entry.body.recorded.row, entry.body.update)
        else {
            return None;
        };
        let path = match place.offset {
            Some(_) => segment_path(folder, *ticket),
            None => folder.join(digest.to_string()),
        };
        let (client, ticket, digest) = (client.clone(), *ticket, *digest);
        Some(KeptUpdate { client, ticket, digest, path, offset: place.offset.unwrap_or(0), bytes: place.bytes })
    });
    kept.collect()
}

fn segment_path(folder: &Path, ticket: Ticket) -> PathBuf {
    let name = match ticket {
        Ticket::Train { round, attempt } => format!("round-{:06}-{attempt}.segment", round.0),
        Ticket::Evaluate { version } => format!("evaluation-{:06}.segment", version.0),
    };
    folder.join(name)
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    end: u64,
    is_settled: bool,
}

/// Writes updates; owned by the journal.
#[derive(Debug)]
pub(super) struct Updates {
    folder: PathBuf,
    durability: Durability,
    segment: Option<Segment>,
    files: BTreeSet<PathBuf>,
    /// Whether every name in the folder is safe.
    are_names_settled: bool,
}

impl Updates {
    /// The folder with what is `kept` in it; whatever else an earlier process left there is removed.
    pub(super) fn open(folder: PathBuf, durability: Durability, kept: &[KeptUpdate]) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(io(&folder))?;
        let mut updates = Self { folder, durability, segment: None, files: BTreeSet::new(), are_names_settled: true };
        for update in kept {
            let path = update.path.clone();
            if path == segment_path(&updates.folder, update.ticket) {
                let end = update.offset + update.bytes;
                updates.segment(update.ticket, end)?;
            } else {
                updates.files.insert(path);
            }
        }
        for entry in fs::read_dir(&updates.folder).map_err(io(&updates.folder))? {
            let path = entry.map_err(io(&updates.folder))?.path();
            let is_segment = updates.segment.as_ref().is_some_and(|segment| segment.path == path);
            if !is_segment && !updates.files.contains(&path) {
                disk::remove(&path)?;
            }
        }
        Ok(updates)
    }

    /// The segment of a round, at least `end` bytes long.
    fn segment(&mut self, ticket: Ticket, end: u64) -> Result<&mut Segment, Error> {
        let path = segment_path(&self.folder, ticket);
        if self.segment.as_ref().is_none_or(|segment| segment.path != path) {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io(&path))?;
            self.are_names_settled = false;
            self.segment = Some(Segment { path, file, end: 0, is_settled: true });
        }
        let segment = self.segment.as_mut().expect("made above");
        segment.end = segment.end.max(end);
        Ok(segment)
    }

    /// Keeps one update. It is safe only after [`Updates::settle`].
    pub(super) fn write(&mut self, ticket: Ticket, digest: Digest, payload: Payload) -> Result<Place, Error> {
        match payload {
            Payload::Bytes(payload) => {
                let segment = self.segment(ticket, 0)?;
                let (offset, bytes) = (segment.end, payload.len() as u64);
                let written = segment.file.seek(SeekFrom::Start(offset)).and_then(|_| segment.file.write_all(&payload));
                written.map_err(io(&segment.path))?;
                segment.end += bytes;
                segment.is_settled = false;
                Ok(Place { bytes, offset: Some(offset) })
            }
            Payload::File { file, path } => {
                let target = self.folder.join(digest.to_string());
                let bytes = file.metadata().map_err(io(&target))?.len();
                self.durability.settle(&file).map_err(io(&target))?;
                path.persist(&target).map_err(|error| io(&target)(error.error))?;
                self.files.insert(target);
                self.are_names_settled = false;
                Ok(Place { bytes, offset: None })
            }
        }
    }

    /// Makes everything that was written safe.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if let Some(segment) = self.segment.as_mut().filter(|segment| !segment.is_settled) {
            self.durability.settle(&segment.file).map_err(io(&segment.path))?;
            segment.is_settled = true;
        }
        if !self.are_names_settled {
            self.durability.settle_names(&self.folder)?;
            self.are_names_settled = true;
        }
        Ok(())
    }

    /// The round is over: its updates are in a commit, or count nowhere.
    pub(super) fn forget(&mut self) -> Result<(), Error> {
        let segment = self.segment.take().map(|segment| segment.path);
        for path in std::mem::take(&mut self.files).into_iter().chain(segment) {
            disk::remove(&path)?;
        }
        Ok(())
    }
}
