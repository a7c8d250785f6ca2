//! Uploads that are under way or broke off: a client that comes back sends only what is missing.
//!
//! An upload is known by its client, its ticket and its digest. Where the run has a journal, large ones are files of
//! [`FOLDER`] that the next process finds; nothing in such a file is believed before the whole update's digest was compared.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempPath;
use tributary_common::Digest;
use tributary_common::id::{Attempt, ClientId, Round, Ticket, Version};

use super::limits::Limits;
use super::spool::Spools;
use super::upload::Upload;
use crate::screen::Screen;

/// Where uploads that broke off outlive the process, in the run's folder.
const FOLDER: &str = "partial";

/// How often the limits of what is idle are looked at while nothing breaks off.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// How long transfers that were told to end may take to do so.
const BREAK_OFF: Duration = Duration::from_secs(1);

/// What an upload is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) client: ClientId,
    pub(super) ticket: Ticket,
    pub(super) digest: Digest,
}

impl Key {
    /// The name of its file. An evaluation has no uploads.
    fn file(&self) -> Option<String> {
        let Ticket::Train { round, attempt } = self.ticket else { return None };
        Some(format!("{round}-{attempt}-{}-{}", self.digest, self.client))
    }

    fn of_file(name: &str) -> Option<Self> {
        let mut parts = name.splitn(4, '-');
        let (round, attempt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (digest, client) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { client, ticket: Ticket::Train { round: Round(round), attempt: Attempt(attempt) }, digest })
    }
}

/// One upload, taken up by one transfer at a time: whoever else comes for it waits at the lock.
pub(super) type Shared = Arc<tokio::sync::Mutex<Upload>>;

#[derive(Debug)]
struct Entry {
    upload: Shared,
    /// Its size when it is whole, in bytes.
    bytes: u64,
    /// When it was first announced.
    since: Instant,
}

impl Entry {
    /// Whether no transfer is at it. Transfers hold a reference, and get it under the lock of all entries.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.upload) == 1
    }
}

/// Why an upload may not begin.
#[derive(Debug)]
pub(super) struct TooMany;

/// The uploads of a run that are not whole.
#[derive(Debug)]
pub(super) struct Partials {
    folder: Option<PathBuf>,
    spools: Spools,
    blank: Arc<Screen>,
    limits: Limits,
    entries: Mutex<Entries>,
    /// Bytes that transfers under way may still write. What they have written meanwhile counts twice, here and on the disk:
    /// at most the byte budget of uploads, to the safe side.
    promised: Arc<AtomicU64>,
}

/// Disk space that is promised to a transfer, until this is dropped.
#[derive(Debug)]
pub(super) struct Space {
    bytes: u64,
    promised: Arc<AtomicU64>,
}

impl Drop for Space {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Entries {
    of: BTreeMap<Key, Entry>,
    /// When the limits were looked at last.
    tidied: Option<Instant>,
}

impl Partials {
    /// No uploads, which end with the process.
    pub(super) fn new(spools: Spools, blank: Arc<Screen>, limits: Limits) -> Self {
        Self { folder: None, spools, blank, limits, entries: Mutex::default(), promised: Arc::default() }
    }

    /// The uploads that another process left in the run's folder `run`; those of this one will be found there too.
    pub(super) fn kept_in(mut self, run: &Path, now: Instant) -> io::Result<Self> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let mut left = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // Whatever is not kept goes with its path.
            let path = TempPath::try_from_path(entry.path())?;
            let Some(key) = entry.file_name().to_str().and_then(Key::of_file) else { continue };
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            let Some(since) = now.checked_sub(age) else { continue };
            let upload = Arc::new(tokio::sync::Mutex::new(Upload::left(Arc::clone(&self.blank), path)));
            left.insert(key, Entry { upload, bytes: self.blank.layout().bytes() as u64, since });
        }
        self.tidy(&mut left, now);
        self.folder = Some(folder);
        self.entries = Mutex::new(Entries { of: left, tidied: None });
        Ok(self)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upload of `key`, of which something may be here.
    ///
    /// # Errors
    /// The client has too many others under way.
    pub(super) fn of(&self, key: &Key, bytes: u64, now: Instant) -> Result<Shared, TooMany> {
        let mut entries = self.entries();
        if entries.tidied.is_none_or(|last| now.saturating_duration_since(last) >= TIDY_EVERY) {
            entries.tidied = Some(now);
            self.tidy(&mut entries.of, now);
        }
        let entries = &mut entries.of;
        if let Some(entry) = entries.get(key) {
            return Ok(Arc::clone(&entry.upload));
        }
        while of_client(entries, &key.client).count() >= self.limits.partials_per_client {
            let oldest = of_client(entries, &key.client).filter(|(_, entry)| entry.is_idle());
            let oldest = oldest.min_by_key(|(_, entry)| entry.since).map(|(key, _)| key.clone()).ok_or(TooMany)?;
            entries.remove(&oldest);
        }
        let upload = Arc::new(tokio::sync::Mutex::new(Upload::nothing(Arc::clone(&self.blank))));
        entries.insert(key.clone(), Entry { upload: Arc::clone(&upload), bytes, since: now });
        Ok(upload)
    }

    /// Gets `upload`, which is `key`'s, ready for what is missing; returns how much is here, and the space for the rest.
    ///
    /// # Errors
    /// The disk failed; with [`io::ErrorKind::StorageFull`] it has too little space left.
    pub(super) fn begin(&self, key: &Key, upload: &mut Upload, bytes: u64) -> io::Result<(u64, Space)> {
        let file = self.folder.as_ref().zip(key.file()).map(|(folder, name)| folder.join(name));
        let held = upload.begin(&self.spools, bytes, file)?;
        let space = match &self.folder {
            Some(folder) => self.promise(folder, bytes - held),
            None => Ok(self.space(0)),
        };
        if space.is_err() {
            upload.park();
        }
        Ok((held, space?))
    }

    fn space(&self, bytes: u64) -> Space {
        self.promised.fetch_add(bytes, Ordering::Relaxed);
        Space { bytes, promised: Arc::clone(&self.promised) }
    }

    /// Promises `bytes` of the disk of `folder`, if it has enough left beside what is promised to others.
    fn promise(&self, folder: &Path, bytes: u64) -> io::Result<Space> {
        let disk = rustix::fs::statvfs(folder)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        // Promised first: of two that come at once at most one is too many.
        let space = self.space(bytes);
        let promised = self.promised.load(Ordering::Relaxed);
        let floor = self.limits.disk_floor_bytes;
        if free.saturating_sub(promised) >= floor {
            return Ok(space);
        }
        let others = promised.saturating_sub(bytes);
        let why = format!(
            "the coordinator's disk has {free} bytes free, of which {others} are for other updates and {floor} stay free"
        );
        Err(io::Error::new(io::ErrorKind::StorageFull, why))
    }

    /// Its update is whole, or will never count.
    pub(super) fn over(&self, key: &Key) {
        self.entries().of.remove(key);
    }

    /// Its transfer broke off: others may have to make room for it.
    pub(super) fn broke_off(&self, upload: Shared, now: Instant) {
        drop(upload);
        self.tidy(&mut self.entries().of, now);
    }

    /// Forgets the uploads of every other ticket: nobody waits for them.
    pub(super) fn keep_only(&self, ticket: Option<Ticket>) {
        self.entries().of.retain(|key, _| Some(key.ticket) == ticket);
    }

    /// Lets what is in files survive this process.
    pub(super) async fn outlive(&self) {
        let left = std::mem::take(&mut self.entries().of);
        if self.folder.is_none() {
            return;
        }
        let until = super::now() + BREAK_OFF;
        for entry in left.into_values() {
            // Its transfer was told to end, perhaps a moment ago, and holds it until it does.
            if let Ok(mut upload) = tokio::time::timeout_at(until, entry.upload.lock()).await {
                upload.outlive();
            }
        }
    }

    /// Holds what is idle inside its age and its quota; the oldest go first.
    fn tidy(&self, entries: &mut BTreeMap<Key, Entry>, now: Instant) {
        entries.retain(|_, entry| {
            !entry.is_idle() || now.saturating_duration_since(entry.since) < self.limits.partial_age
        });
        let mut idle: Vec<(Instant, u64, Key)> = entries
            .iter()
            .filter(|(_, entry)| entry.is_idle())
            .map(|(key, entry)| (entry.since, entry.bytes, key.clone()))
            .collect();
        let mut bytes: u64 = idle.iter().map(|(_, bytes, _)| bytes).sum();
        idle.sort_unstable();
        for (_, size, key) in idle {
            if bytes <= self.limits.partial_bytes {
                break;
            }
            bytes -= size;
            entries.remove(&key);
        }
    }
}

fn of_client<'a>(
    entries: &'a BTreeMap<Key, Entry>,
    client: &'a ClientId,
) -> impl Iterator<Item = (&'a Key, &'a Entry)> {
    let first =
        Key { client: client.clone(), ticket: Ticket::Evaluate { version: Version(0) }, digest: Digest([0; 32]) };
    entries.range(first..).take_while(|(key, _)| key.client == *client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::config::Document;
    use tributary_common::parameters::{Dtype, Layout};
    use tributary_common::stage::Pipeline;

    /// Not a multiple of a page, and more than one.
    const BYTES: usize = 400_000;

    fn layout() -> Arc<Layout> {
        Layout::new([("w", Dtype::F32, vec![BYTES / 4])]).unwrap()
    }

    fn key(client: &str, digest: u8) -> Key {
        let ticket = Ticket::Train { round: Round(3), attempt: Attempt(1) };
        Key { client: client.parse().unwrap(), ticket, digest: Digest([digest; 32]) }
    }

    fn partials(limits: Limits) -> Partials {
        let clip = Document::parse("run.toml", "stages = [{ kind = 'clip', norm = 1.0 }]").unwrap();
        let stages = Pipeline::parse(clip.table().optional("stages")).unwrap();
        Partials::new(Spools::new(None, 0), Arc::new(Screen::new(layout(), &stages)), limits)
    }

    #[expect(clippy::disallowed_methods, reason = "an age needs a beginning")]
    fn now() -> Instant {
        Instant::now()
    }

    /// Begins `key`'s upload, takes `count` bytes of it, and breaks off; returns what was here before.
    fn send(partials: &Partials, key: &Key, count: usize, now: Instant) -> u64 {
        let shared = partials.of(key, BYTES as u64, now).unwrap();
        let held = {
            let mut upload = shared.try_lock().unwrap();
            let (held, _space) = partials.begin(key, &mut upload, BYTES as u64).unwrap();
            upload.take(&vec![0; count]).unwrap();
            upload.park();
            held
        };
        partials.broke_off(shared, now);
        held
    }

    #[test]
    fn an_upload_goes_on_where_it_broke_off_and_ends_with_its_ticket() {
        let (partials, now) = (partials(Limits::default()), now());
        let whole = Digest::from({
            let mut hasher = layout().hasher();
            hasher.update(&vec![0; BYTES]);
            hasher.finalize()
        });
        let key = Key { digest: whole, ..key("a", 0) };
        assert_eq!(send(&partials, &key, 80_000, now), 0);
        assert_eq!(send(&partials, &key, 80_008, now), 80_000);
        let shared = partials.of(&key, BYTES as u64, now).unwrap();
        let mut upload = shared.try_lock().unwrap();
        assert_eq!(partials.begin(&key, &mut upload, BYTES as u64).unwrap().0, 160_008);
        upload.take(&vec![0; BYTES - 160_008]).unwrap();
        assert!(upload.finish(whole).unwrap().1 == 0.0 && upload.is_over());
        let other = self::key("a", 7);
        assert_eq!(send(&partials, &other, 8, now), 0);
        partials.keep_only(Some(other.ticket));
        assert_eq!(send(&partials, &other, 8, now), 8);
        partials.keep_only(None);
        assert_eq!(send(&partials, &other, 8, now), 0);
    }

    /// What goes wrong without it: clients that come and go fill the coordinator's disk.
    #[test]
    fn each_limit_of_what_broke_off_is_reached() {
        let (limits, now) = (Limits::default(), now());
        let later = |seconds| now + Duration::from_secs(seconds);
        let fresh = partials(limits);
        for (digest, second) in [(1, 0), (2, 2), (3, 4)] {
            send(&fresh, &key("a", digest), 8, later(second));
        }
        send(&fresh, &key("b", 1), 8, later(4));
        assert_eq!(send(&fresh, &key("a", 1), 8, later(6)), 0, "the third of a client let the first go");
        assert_eq!(send(&fresh, &key("a", 3), 8, later(8)), 8);
        assert_eq!(send(&fresh, &key("b", 1), 8, later(8)), 8, "each client has its own two");
        let day = limits.partial_age;
        assert_eq!(send(&fresh, &key("b", 1), 8, later(4) + day), 0, "a day is over");
        // Two under way are not thrown out for a third.
        let held = [1, 2].map(|digest| fresh.of(&key("c", digest), 8, now).unwrap());
        assert!(fresh.of(&key("c", 3), 8, now).is_err());
        drop(held);
        assert!(fresh.of(&key("c", 3), 8, now).is_ok());
        let small = partials(Limits { partial_bytes: 2 * BYTES as u64, ..limits });
        for (second, client) in ["a", "b", "c"].into_iter().enumerate() {
            send(&small, &key(client, 1), 8, later(second as u64));
        }
        assert_eq!(send(&small, &key("c", 1), 8, later(3)), 8);
        assert_eq!(send(&small, &key("a", 1), 8, later(3)), 0, "the oldest made room");
    }

    /// What goes wrong without it: updates fill the disk, and the row that would make one count cannot be written.
    #[test]
    fn no_update_is_taken_that_would_leave_too_little_of_the_disk() {
        let run = tempfile::tempdir().unwrap();
        for (disk_floor_bytes, is_full) in [(0, false), (u64::MAX, true)] {
            let limits = Limits { disk_floor_bytes, ..Limits::default() };
            let partials = partials(limits).kept_in(run.path(), now()).unwrap();
            let shared = partials.of(&key("a", 1), BYTES as u64, now()).unwrap();
            let begun = partials.begin(&key("a", 1), &mut shared.try_lock().unwrap(), BYTES as u64);
            assert_eq!(begun.is_err_and(|error| error.kind() == io::ErrorKind::StorageFull), is_full);
        }
    }

    /// What goes wrong without it: updates that are under way at once eat the floor together, though each leaves it whole.
    #[test]
    fn updates_under_way_together_leave_the_floor_of_the_disk() {
        let run = tempfile::tempdir().unwrap();
        let disk = rustix::fs::statvfs(run.path()).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        // Others use the disk of a test too: an update here is larger than what they write meanwhile.
        let bytes = free / 3;
        let limits = Limits { disk_floor_bytes: free / 2, ..Limits::default() };
        let partials = partials(limits).kept_in(run.path(), now()).unwrap();
        let begin = |client: &str| {
            let shared = partials.of(&key(client, 1), bytes, now()).unwrap();
            let begun = partials.begin(&key(client, 1), &mut shared.try_lock().unwrap(), bytes);
            begun.map(|(_, space)| space)
        };
        let first = begin("a").unwrap();
        let full = begin("b").unwrap_err();
        assert!(
            full.kind() == io::ErrorKind::StorageFull && full.to_string().contains(&format!("{bytes} are for other"))
        );
        drop(first);
        drop(begin("b").unwrap());
    }

    /// What goes wrong without it: a stop lets go of the transfers, and of what they were at just then nothing is left.
    #[tokio::test]
    async fn what_a_transfer_is_still_at_is_kept_once_it_ends() {
        let (run, now) = (tempfile::tempdir().unwrap(), now());
        let partials = partials(Limits::default()).kept_in(run.path(), now).unwrap();
        send(&partials, &key("a", 1), 80_000, now);
        let shared = partials.of(&key("a", 1), BYTES as u64, now).unwrap();
        let transfer = shared.lock().await;
        let ends = async {
            tokio::task::yield_now().await;
            drop(transfer);
        };
        tokio::join!(partials.outlive(), ends);
        drop(shared);
        drop(partials);
        assert_eq!(fs::read_dir(run.path().join(FOLDER)).unwrap().count(), 1);
    }

    #[test]
    fn another_process_finds_what_was_left_and_checks_it() {
        let (run, now) = (tempfile::tempdir().unwrap(), now());
        let process = || partials(Limits::default()).kept_in(run.path(), now).unwrap();
        let first = process();
        send(&first, &key("a-b", 1), 80_004, now);
        send(&first, &key("c", 1), 8, now);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(first.outlive());
        drop(first);
        let folder = run.path().join(FOLDER);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::write(folder.join("what is this"), "x").unwrap();
        let name = key("c", 1).file().unwrap();
        fs::write(folder.join(name), f32::NAN.to_le_bytes().repeat(8)).unwrap();
        let second = process();
        assert_eq!(send(&second, &key("a-b", 1), 8, now), 80_000, "no number is torn");
        assert_eq!(send(&second, &key("c", 1), 8, now), 0, "what cannot count is not gone on with");
        drop(second);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "who does not say so leaves nothing");
    }
}
