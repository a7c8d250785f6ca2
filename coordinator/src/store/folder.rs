//! A run as a folder. For people: `run.toml`, `events.jsonl`, `metrics.csv`, `model.safetensors` (the last version),
//! `best.safetensors`. For the next process: `journal.sqlite`, `updates/`, `models/`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tributary_common::Digest;
use tributary_common::event::{Event, Notice, RoundLine};
use tributary_common::id::Version;
use tributary_common::metrics::Summary;
use tributary_common::parameters::{Layout, Parameters};

use super::journal::{self, Brings, Item, Journal};
use super::models::{self, Kept, Models};
use super::{Durability, Error, Past, Retained, Store, disk, io, told, unbegun};
use crate::round::{Recorded, Row};

/// A run folder that is written to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    durability: Durability,
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    events: File,
    metrics: File,
    models: Models,
}

/// How a folder keeps its run.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// What the run outlives.
    pub durability: Durability,
    /// How many committed versions stay, the best one not counted; at least one.
    pub models: usize,
}

/// What an unfinished run left behind.
#[derive(Debug)]
pub struct Resumed {
    /// What its journal tells.
    pub past: Past,
    /// The version that it goes on from.
    pub model: Parameters,
    /// The server optimiser's state after it.
    pub optimizer: Vec<u8>,
}

pub(super) const EVENTS: &str = "events.jsonl";
const METRICS: &str = "metrics.csv";
const MODEL: &str = "model.safetensors";
const BEST: &str = "best.safetensors";

const METRICS_HEADER: &str = "round,version,clients,weight,seconds,bytes_down,bytes_up,\
    train_loss,train_accuracy,local_loss,local_accuracy,central_loss,central_accuracy,central_macro_f1\n";

impl Folder {
    /// Whether `path` holds what a process left that was gone before its run's first row was durable: then [`Folder::create`]
    /// begins there as if there were nothing.
    #[must_use]
    pub fn is_unbegun(path: &Path) -> bool {
        unbegun::is_left(path)
    }

    /// Starts a run in `path`, which must hold none; `run_file` is kept as `run.toml`.
    ///
    /// # Errors
    /// The folder holds a run, or cannot be written.
    pub fn create(path: &Path, run_file: &str, keeping: Keeping) -> Result<(Self, Journal), Error> {
        fs::create_dir_all(path).map_err(io(path))?;
        let file = path.join("run.toml");
        if file.exists() && !Self::is_unbegun(path) {
            return Err(Error::FolderInUse(path.to_owned()));
        }
        // First, because it holds the lock: what is there of the others is this process's now.
        let journal = Journal::create(path, keeping.durability)?;
        let write = |name: &str, text: &str| fs::write(path.join(name), text).map_err(io(&path.join(name)));
        [("run.toml", run_file), (EVENTS, ""), (METRICS, METRICS_HEADER)]
            .into_iter()
            .try_for_each(|(name, text)| write(name, text))?;
        keeping.durability.settle_names(path)?;
        Ok((Self::open(path, keeping, &[], Version(0), &[])?, journal))
    }

    /// Goes on with the run in `path`, which must have been started with the configuration `config` for a model of this
    /// layout.
    ///
    /// # Errors
    /// There is no such run, it is broken, or another process is at work on it.
    pub fn resume(
        path: &Path,
        config: Digest,
        layout: &Layout,
        keeping: Keeping,
    ) -> Result<(Self, Journal, Resumed), Error> {
        let (journal, found) = Journal::open(path, keeping.durability)?;
        let Some(Row::RunCreated { config: created, .. }) = found.rows().next().map(|recorded| &recorded.row) else {
            return Err(Error::Broken { path: path.to_owned(), why: "its journal is empty".to_owned() });
        };
        if *created != config {
            return Err(Error::OtherConfiguration(path.to_owned()));
        }
        let current = found.versions();
        let last = current.last().expect("the first row makes the first version");
        let (model, optimizer) = models::read(path, *last)?;
        for update in &found.updates {
            update.check(layout)?;
        }
        [EVENTS, METRICS].into_iter().try_for_each(|name| told::mend(&path.join(name)))?;
        let told = told::rounds(&path.join(EVENTS), &current)?;
        let from = found.kept_from().unwrap_or(Version(0));
        let folder = Self::open(path, keeping, &current, from, &found.all_versions())?;
        let is_told = |kept: &Kept| told.iter().any(|line| line.version == kept.version);
        let older = current.iter().rev().nth(1).filter(|kept| kept.version > Version(0) && !is_told(kept));
        // What is not kept any more, or damaged, is told without having been measured; `verify` names what is damaged.
        let older = older.and_then(|kept| Some((kept.version, models::read(path, *kept).ok()?.0)));
        Ok((folder, journal, Resumed { past: Past { told, older, ..found.into() }, model, optimizer }))
    }

    fn open(path: &Path, keeping: Keeping, current: &[Kept], from: Version, all: &[Kept]) -> Result<Self, Error> {
        let append = |name: &str| {
            let file = path.join(name);
            OpenOptions::new().create(true).append(true).open(&file).map_err(io(&file))
        };
        let models = Models::open(path, keeping.durability, keeping.models, current, from, all)?;
        let files = Files { events: append(EVENTS)?, metrics: append(METRICS)?, models };
        Ok(Self { path: path.to_owned(), durability: keeping.durability, files: Mutex::new(files) })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn with<T>(&self, act: impl FnOnce(&mut Files) -> Result<T, Error>) -> Result<T, Error> {
        act(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for Folder {
    fn keep(&self, version: Version, model: &Parameters, optimizer: &[u8]) -> Result<Retained, Error> {
        self.with(|files| {
            let kept = files.models.keep(version, model, optimizer)?;
            disk::link(&models::file(&self.path, kept), &self.path.join(MODEL), self.durability)?;
            Ok(Retained { optimizer: kept.optimizer, kept_from: Some(files.models.kept_from()) })
        })
    }

    fn mark_best(&self, version: Version) -> Result<(), Error> {
        self.with(|files| {
            let Some(best) = files.models.better(version) else { return Ok(()) };
            disk::link(&models::file(&self.path, best), &self.path.join(BEST), self.durability)?;
            files.models.mark_best(best)
        })
    }

    fn event(&self, event: &Event) -> Result<(), Error> {
        let mut line = serde_json::to_vec(event).expect("events are plain data");
        line.push(b'\n');
        self.with(|files| {
            let written = files.events.write_all(&line).and_then(|()| match event {
                Event::Round(line) => files.metrics.write_all(metrics_line(line).as_bytes()),
                _ => Ok(()),
            });
            written.map_err(io(&self.path))
        })
    }

    fn model_path(&self) -> Option<PathBuf> {
        // A run that ended before its first commit has none.
        Some(self.path.join(MODEL)).filter(|path| path.is_file())
    }

    fn folder(&self) -> Option<PathBuf> {
        Some(self.path.clone())
    }

    fn spool(&self) -> Option<PathBuf> {
        Some(journal::updates_folder(&self.path))
    }
}

/// Goes back to a version that the run in `path` stands on and that is kept: the next process goes on from there. What
/// came after stays in the folder and counts no more. Returns what the run stood on before, and stands on now.
///
/// # Errors
/// The version is not kept, or another process is at work on the run.
pub fn roll_back(path: &Path, to: Version, wall_ms: u64) -> Result<(Kept, Kept), Error> {
    let (mut journal, found) = Journal::open(path, Durability::Power)?;
    let current = found.versions();
    let kept: Vec<Kept> = current.iter().copied().filter(|kept| models::file(path, *kept).is_file()).collect();
    let (Some(before), Some(back)) = (current.last(), kept.iter().find(|kept| kept.version == to)) else {
        let kept = kept.iter().map(|kept| kept.version).collect();
        return Err(Error::NotKept { path: path.to_owned(), version: to, kept });
    };
    models::read(path, *back)?;
    let recorded = Recorded { at: found.at, row: Row::RolledBack { version: to } };
    journal.commit(vec![Item { recorded, wall_ms, brings: Brings::Nothing }], found.at)?;
    // For people, and so that a run that was over goes on.
    let mut events = OpenOptions::new().append(true).open(path.join(EVENTS)).map_err(io(path))?;
    let text = format!("the run went back from version {} to version {to}", before.version);
    let line = serde_json::to_string(&Event::Notice(Notice { client: None, text })).expect("events are plain data");
    writeln!(events, "{line}").map_err(io(path))?;
    disk::link(&models::file(path, *back), &path.join(MODEL), Durability::Power)?;
    // What is taken back is not the best any more; the next process marks the best of the others.
    let stays = current.iter().filter(|kept| kept.version <= to);
    if models::forget_best(path, &stays.copied().collect::<Vec<_>>())? {
        disk::remove(&path.join(BEST))?;
    }
    Ok((*before, *back))
}

fn metrics_line(line: &RoundLine) -> String {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let loss = |summary: &Option<Summary>| number(summary.as_ref().and_then(|summary| summary.loss));
    let accuracy = |summary: &Option<Summary>| number(summary.as_ref().and_then(|summary| summary.accuracy));
    let cells = [
        line.round.to_string(),
        line.version.to_string(),
        line.clients.to_string(),
        line.weight.to_string(),
        line.seconds.to_string(),
        line.bytes_down.to_string(),
        line.bytes_up.to_string(),
        loss(&line.train),
        accuracy(&line.train),
        loss(&line.local),
        accuracy(&line.local),
        loss(&line.central),
        accuracy(&line.central),
        number(line.central.as_ref().and_then(|summary| summary.macro_f1)),
    ];
    cells.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::id::{Attempt, Round, RunId, Ticket};
    use tributary_common::parameters::Dtype;
    use tributary_common::time::Time;

    const TICKET: Ticket = Ticket::Train { round: Round(1), attempt: Attempt(0) };
    const KEEPING: Keeping = Keeping { durability: Durability::Power, models: 3 };

    fn item(row: Row, brings: Brings) -> Item {
        Item { recorded: Recorded { at: Time(1), row }, wall_ms: 0, brings }
    }

    fn created() -> Item {
        let row = Row::RunCreated { run: RunId([7; 16]), config: Digest([1; 32]), model: Digest([2; 32]) };
        item(row, Brings::Version(Retained { optimizer: Digest::of(&[]), kept_from: None }))
    }

    fn model() -> Parameters {
        Parameters::zeros(Layout::new([("w", Dtype::F32, vec![4])]).unwrap())
    }

    fn resume(path: &Path, config: u8) -> Result<Resumed, Error> {
        Folder::resume(path, Digest([config; 32]), model().layout(), KEEPING).map(|(_, _, resumed)| resumed)
    }

    #[test]
    fn a_run_is_found_again_with_its_last_version() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut journal) = Folder::create(folder.path(), "run", KEEPING).unwrap();
        journal.commit(vec![created()], Time(1)).unwrap();
        assert_eq!(store.model_path(), None, "nothing is committed yet");
        let retained = store.keep(Version(1), &model(), &[1; 8]).unwrap();
        assert_eq!(store.model_path(), Some(folder.path().join("model.safetensors")));
        let row = Row::ModelCommitted { ticket: TICKET, version: Version(1), digest: model().digest(), weight: 3 };
        journal.commit(vec![item(row, Brings::Version(retained))], Time(7)).unwrap();
        // A version whose row never became durable counts nowhere.
        store.keep(Version(2), &model(), &[2; 8]).unwrap();
        store.mark_best(Version(2)).unwrap();
        drop((store, journal));
        let resumed = resume(folder.path(), 1).unwrap();
        assert_eq!((resumed.past.rows.len(), resumed.model, resumed.optimizer), (2, model(), vec![1; 8]));
        assert_eq!(resumed.past.at, Time(7));
        for name in [MODEL, BEST] {
            let shown = tributary_common::parameters::safetensors::read(&folder.path().join(name)).unwrap();
            assert_eq!(shown, model(), "{name}");
        }
    }

    #[test]
    fn other_runs_and_other_configurations_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut journal) = Folder::create(folder.path(), "run", KEEPING).unwrap();
        journal.commit(vec![created()], Time(1)).unwrap();
        drop(journal);
        assert!(matches!(Folder::create(folder.path(), "run", KEEPING), Err(Error::FolderInUse(_))));
        assert!(matches!(resume(folder.path(), 9), Err(Error::OtherConfiguration(_))));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(resume(empty.path(), 1), Err(Error::NoRun(_))));
    }

    fn values(value: f32) -> Parameters {
        let bytes = bytes::Bytes::from([value.to_le_bytes(); 4].concat());
        Parameters::new(std::sync::Arc::clone(model().layout()), bytes).unwrap()
    }

    /// A run of five versions, of which the last three are kept, and of them the file's digests are the journal's.
    fn five_versions(path: &Path) {
        let (store, mut journal) = Folder::create(path, "run", KEEPING).unwrap();
        let initial = values(0.0);
        let retained = store.keep(Version(0), &initial, &[]).unwrap();
        let row = Row::RunCreated { run: RunId([7; 16]), config: Digest([1; 32]), model: initial.digest() };
        journal.commit(vec![item(row, Brings::Version(retained))], Time(1)).unwrap();
        for n in 1..=5_u8 {
            let (version, model) = (Version(n.into()), values(n.into()));
            let retained = store.keep(version, &model, &[n]).unwrap();
            let ticket = Ticket::Train { round: Round(n.into()), attempt: Attempt(0) };
            let row = Row::ModelCommitted { ticket, version, digest: model.digest(), weight: 3 };
            journal.commit(vec![item(row, Brings::Version(retained))], Time(n.into())).unwrap();
        }
    }

    #[test]
    fn a_rollback_is_found_by_the_next_process_and_leaves_the_later_versions() {
        let folder = tempfile::tempdir().unwrap();
        five_versions(folder.path());
        let error = roll_back(folder.path(), Version(0), 0).unwrap_err();
        assert_eq!(error.hint().unwrap(), "these versions are kept: 2, 3, 4, 5");
        let (store, ..) = Folder::resume(folder.path(), Digest([1; 32]), model().layout(), KEEPING).unwrap();
        store.mark_best(Version(4)).unwrap();
        assert!(folder.path().join(BEST).exists());
        drop(store);
        let (before, back) = roll_back(folder.path(), Version(3), 0).unwrap();
        assert_eq!((before.version, back.version), (Version(5), Version(3)));
        let resumed = resume(folder.path(), 1).unwrap();
        assert_eq!((resumed.model, resumed.optimizer), (values(3.0), vec![3]));
        assert!(models::file(folder.path(), before).is_file());
        assert!(!folder.path().join(BEST).exists(), "the best one was taken back");
        assert!(matches!(roll_back(folder.path(), Version(4), 0), Err(Error::NotKept { .. })), "it was taken back");
    }

    #[test]
    fn a_whole_run_is_verified_and_the_first_damage_named() {
        let folder = tempfile::tempdir().unwrap();
        five_versions(folder.path());
        let verified = crate::store::verify(folder.path()).unwrap();
        assert_eq!((verified.rows, verified.versions, verified.version), (6, 4, Version(5)));
        let found = Journal::look(folder.path()).unwrap();
        let file = models::file(folder.path(), found.versions()[4]);
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
        let error = crate::store::verify(folder.path()).unwrap_err().to_string();
        assert!(error.contains(file.to_str().unwrap()), "{error}");
        fs::remove_file(models::file(folder.path(), found.versions()[5])).unwrap();
        fs::remove_file(&file).unwrap();
        let error = crate::store::verify(folder.path()).unwrap_err().to_string();
        assert!(error.contains(file.to_str().unwrap()), "the first one: {error}");
    }

    /// Of five versions the last three are promised, and the best one; the others were let go, or are about to be.
    #[test]
    fn a_kept_version_that_is_missing_is_named_and_one_that_was_let_go_is_not() {
        let missing = |version: usize, best: Option<u64>| {
            let folder = tempfile::tempdir().unwrap();
            five_versions(folder.path());
            if let Some(best) = best {
                let (store, ..) = Folder::resume(folder.path(), Digest([1; 32]), model().layout(), KEEPING).unwrap();
                store.mark_best(Version(best)).unwrap();
            }
            let file = models::file(folder.path(), Journal::look(folder.path()).unwrap().versions()[version]);
            let _ = fs::remove_file(&file);
            let verified = crate::store::verify(folder.path());
            verified.map_err(|error| assert!(error.to_string().contains(file.to_str().unwrap()), "{error}")).is_err()
        };
        let found = [0, 1, 2, 3, 4, 5].map(|version| missing(version, None));
        assert_eq!(found, [false, false, false, true, true, true]);
        assert!(missing(2, Some(2)), "the best one stays");
        assert!(!missing(2, Some(3)));
    }

    /// What goes wrong without it: a process that keeps fewer versions than the one before takes away what that one's rows
    /// promise, is gone before its own row, and the folder looks damaged.
    #[test]
    fn what_a_row_promises_stays_until_the_next_row_of_a_version() {
        let folder = tempfile::tempdir().unwrap();
        five_versions(folder.path());
        let keeping = Keeping { models: 1, ..KEEPING };
        let (store, ..) = Folder::resume(folder.path(), Digest([1; 32]), model().layout(), keeping).unwrap();
        store.keep(Version(6), &values(6.0), &[6]).unwrap();
        assert_eq!(crate::store::verify(folder.path()).unwrap().version, Version(5));
    }

    #[test]
    fn what_a_run_went_back_to_is_whole_and_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        five_versions(folder.path());
        roll_back(folder.path(), Version(2), 0).unwrap();
        assert_eq!(crate::store::verify(folder.path()).unwrap().version, Version(2));
        let (store, ..) = Folder::resume(folder.path(), Digest([1; 32]), model().layout(), KEEPING).unwrap();
        let retained = store.keep(Version(3), &values(9.0), &[9]).unwrap();
        assert_eq!(retained.kept_from, Some(Version(2)), "older ones are gone");
        assert_eq!(crate::store::verify(folder.path()).unwrap().version, Version(2));
    }
}
