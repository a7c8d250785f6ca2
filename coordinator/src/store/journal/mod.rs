//! The journal of a run: what happened, in order, so that another process goes on from it.
//!
//! Rows stand in an SQLite file, each bound to all before it by a hash; accepted updates stand beside it until their
//! round is over. One process at a time writes: it holds a lock on the run's folder. Whoever calls [`Journal::commit`]
//! waits for the disk, so a server does that on a thread of its own and commits many rows at once.

mod entry;
mod table;
mod updates;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use tributary_common::Digest;
use tributary_common::event::RoundLine;
use tributary_common::id::Version;
use tributary_common::parameters::Parameters;
use tributary_common::time::Time;

pub use entry::{Body, Columns, Entry, Place, Retained};
pub use updates::{KeptUpdate, Payload, SEGMENT_PAYLOAD_BYTES_MAX};

use super::{Durability, Error, Kept, io};
use crate::round::{Recorded, Row};
use table::Table;
use updates::Updates;

const ROWS: &str = "journal.sqlite";
const UPDATES: &str = "updates";
const LOCK: &str = "lock";

/// A row to keep, with what belongs to it.
#[derive(Debug)]
pub struct Item {
    /// The row and its time.
    pub recorded: Recorded,
    /// Milliseconds since 1970, for people; 0 where there is no such time.
    pub wall_ms: u64,
    /// What the row speaks of.
    pub brings: Brings,
}

/// What comes with a row.
#[derive(Debug, Default)]
pub enum Brings {
    /// Nothing.
    #[default]
    Nothing,
    /// With a version, committed or initial: what the store keeps of it and of those before it.
    Version(Retained),
    /// With an accepted update: the update.
    Update(Payload),
}

/// What an earlier process kept.
#[derive(Debug)]
pub struct Found {
    /// Every entry, oldest first.
    pub entries: Vec<Entry>,
    /// The run's clock: no earlier than any entry.
    pub at: Time,
    /// The accepted updates of the open round.
    pub updates: Vec<KeptUpdate>,
}

/// What an earlier process left of a run; nothing of a new one.
#[derive(Debug, Default)]
pub struct Past {
    /// Its rows, oldest first.
    pub rows: Vec<Recorded>,
    /// The run's clock.
    pub at: Time,
    /// The accepted updates of the round that is open.
    pub updates: Vec<KeptUpdate>,
    /// The lines of rounds that are out, oldest first.
    pub told: Vec<RoundLine>,
    /// The version before the last one, where its line is not out and it is still kept.
    pub older: Option<(Version, Parameters)>,
}

impl From<Found> for Past {
    fn from(found: Found) -> Self {
        let rows = found.entries.into_iter().map(|entry| entry.body.recorded).collect();
        Self { rows, at: found.at, updates: found.updates, told: Vec::new(), older: None }
    }
}

impl Found {
    fn of(folder: &Path, table: &Table) -> Result<Self, Error> {
        let entries = table.entries()?;
        let last = entries.last().map_or(Time::ZERO, |entry| entry.body.recorded.at);
        let updates = updates::kept(&folder.join(UPDATES), &entries);
        Ok(Self { at: table.clock()?.max(last), entries, updates })
    }

    /// The rows with their times.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Recorded> {
        self.entries.iter().map(|entry| &entry.body.recorded)
    }

    /// The versions that the run stands on, oldest first: from the initial one to the one that it goes on from.
    #[must_use]
    pub fn versions(&self) -> Vec<Kept> {
        let mut versions: Vec<Kept> = Vec::new();
        for entry in &self.entries {
            if let Row::RolledBack { version } = entry.body.recorded.row {
                versions.retain(|kept| kept.version <= version);
            }
            versions.extend(entry.version());
        }
        versions
    }

    /// From which version on those that the run stands on are kept; older ones may be. `None` if no row says so.
    #[must_use]
    pub fn kept_from(&self) -> Option<Version> {
        // The largest: a rollback brings nothing back that later rows let go.
        let from = self.entries.iter().filter_map(|entry| entry.body.retained?.kept_from).max()?;
        Some(from.min(self.versions().last()?.version))
    }

    /// Every version that there ever was, those that a rollback took back too.
    #[must_use]
    pub fn all_versions(&self) -> Vec<Kept> {
        self.entries.iter().filter_map(Entry::version).collect()
    }
}

/// A journal that is written on.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    table: Table,
    updates: Updates,
    next: u64,
    epoch: u64,
    tip: Digest,
    has_failed: bool,
    /// Held as long as the journal.
    _lock: File,
}

impl Journal {
    /// Whether the folder has a journal in which nothing was ever kept.
    #[must_use]
    pub fn is_blank(folder: &Path) -> bool {
        // What cannot be read is not known to be blank.
        existing(folder).is_ok_and(|path| Table::is_blank(&path).unwrap_or(false))
    }

    /// Starts the journal of the run in `folder`, which must have none, or a blank one.
    ///
    /// # Errors
    /// It cannot be written, or another process holds it.
    pub fn create(folder: &Path, durability: Durability) -> Result<Self, Error> {
        let lock = lock(folder)?;
        let path = folder.join(ROWS);
        if path.exists() {
            if !Self::is_blank(folder) {
                return Err(Error::FolderInUse(folder.to_owned()));
            }
            // Half of its tables may be there. The log goes first: it is nothing without the file.
            ["-wal", "-shm", ""].iter().try_for_each(|end| remove_if_there(&folder.join(format!("{ROWS}{end}"))))?;
        }
        let table = Table::create(&path, durability)?;
        let updates = Updates::open(folder.join(UPDATES), durability, &[])?;
        durability.settle_names(folder)?;
        Ok(Self { path, table, updates, next: 0, epoch: 0, tip: Entry::ORIGIN, has_failed: false, _lock: lock })
    }

    /// Goes on with the journal of the run in `folder`, whose chain is checked on the way.
    ///
    /// # Errors
    /// There is none, it is broken, or another process holds it.
    pub fn open(folder: &Path, durability: Durability) -> Result<(Self, Found), Error> {
        // First: a folder that holds no run is left as it is.
        let path = existing(folder)?;
        let lock = lock(folder)?;
        let table = Table::open(&path, durability)?;
        let found = Found::of(folder, &table)?;
        let updates = Updates::open(folder.join(UPDATES), durability, &found.updates)?;
        let (epoch, tip) = found.entries.last().map_or((0, Entry::ORIGIN), |last| (last.epoch + 1, last.hash));
        let next = found.entries.len() as u64;
        Ok((Self { path, table, updates, next, epoch, tip, has_failed: false, _lock: lock }, found))
    }

    /// Looks at the journal of the run in `folder`, whether or not another process writes on it.
    ///
    /// # Errors
    /// There is none, or it is broken.
    pub fn look(folder: &Path) -> Result<Found, Error> {
        Found::of(folder, &Table::look(&existing(folder)?)?)
    }

    /// The number of the next row.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Keeps rows with what they bring. When this returns, they outlive what the journal's durability says, all of them.
    ///
    /// # Errors
    /// They cannot be kept. That is final: what a disk said it could not write is never tried again, because nobody knows
    /// what is on it now. The next process recovers.
    pub fn commit(&mut self, items: Vec<Item>, at: Time) -> Result<(), Error> {
        if self.has_failed {
            let why = "it failed before; a new process may recover".to_owned();
            return Err(Error::Journal { path: self.path.clone(), why });
        }
        let result = self.try_commit(items, at);
        self.has_failed = result.is_err();
        result
    }

    fn try_commit(&mut self, items: Vec<Item>, at: Time) -> Result<(), Error> {
        let ends_round = items.iter().any(|item| item.recorded.row.ends_round());
        let (mut next, mut tip) = (self.next, self.tip);
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            let body = self.body(item)?;
            let (entry, text) = Entry::new(tip, next, self.epoch, body);
            tip = entry.hash;
            entries.push((entry, text));
            next += 1;
        }
        // Updates first: a row never speaks of what is not there.
        self.updates.settle()?;
        self.table.insert(&entries, at)?;
        (self.next, self.tip) = (next, tip);
        if ends_round {
            self.updates.forget()?;
        }
        Ok(())
    }

    fn body(&mut self, item: Item) -> Result<Body, Error> {
        let mut body = Body { recorded: item.recorded, wall_ms: item.wall_ms, update: None, retained: None };
        match (item.brings, &body.recorded.row) {
            (Brings::Version(retained), Row::ModelCommitted { .. } | Row::RunCreated { .. }) => {
                body.retained = Some(retained);
            }
            (Brings::Update(payload), Row::UpdateAccepted { ticket, digest, .. }) => {
                body.update = Some(self.updates.write(*ticket, *digest, payload)?);
            }
            // A simulated run can be computed again: its updates are not kept.
            (Brings::Nothing, row) if !matches!(row, Row::ModelCommitted { .. } | Row::RunCreated { .. }) => {}
            (brings, row) => unreachable!("{row:?} does not come with {brings:?}"),
        }
        Ok(body)
    }
}

fn existing(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join(ROWS);
    if path.is_file() { Ok(path) } else { Err(Error::NoRun(folder.to_owned())) }
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(path)(error)),
        _ => Ok(()),
    }
}

/// Where updates of the run in `folder` are kept, on their way and after it.
#[must_use]
pub fn updates_folder(folder: &Path) -> PathBuf {
    folder.join(UPDATES)
}

/// The lock is the system's: it ends with the process, however that ends.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io(&path))?;
    match open.try_lock() {
        Ok(()) => Ok(open),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(&path)(error)),
    }
}

#[cfg(test)]
mod tests;
