//! A run as a folder: `run.toml`, `journal.jsonl` (rows), `events.jsonl`, `metrics.csv`, `model.safetensors` (the last
//! version), `best.safetensors`, `optimizer.bin`.
//!
//! A file is written beside its place and renamed, so that a reader never sees half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tributary_common::Digest;
use tributary_common::event::{Event, RoundLine};
use tributary_common::id::Version;
use tributary_common::metrics::Summary;
use tributary_common::parameters::{Parameters, safetensors};

use super::{Error, Store, io};
use crate::round::Row;

/// The longest row that is read back, in bytes: a cohort of a million names.
const ROW_BYTES_MAX: u64 = 80 << 20;

/// A run folder that is written to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    journal: File,
    events: File,
    metrics: File,
}

/// What an unfinished run left behind.
#[derive(Debug)]
pub struct Resumed {
    /// The rows, oldest first.
    pub rows: Vec<Row>,
    /// The last committed version, if there is one.
    pub model: Option<Parameters>,
    /// The server optimiser's state after it.
    pub optimizer: Vec<u8>,
}

const METRICS_HEADER: &str = "round,version,clients,weight,seconds,bytes_down,bytes_up,\
    train_loss,train_accuracy,local_loss,local_accuracy,central_loss,central_accuracy,central_macro_f1\n";

impl Folder {
    /// Starts a run in `path`, which must hold none; `run_file` is kept as `run.toml`.
    ///
    /// # Errors
    /// The folder holds a run, or cannot be written.
    pub fn create(path: &Path, run_file: &str) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(io(path))?;
        let file = path.join("run.toml");
        let created = OpenOptions::new().write(true).create_new(true).open(&file);
        let mut created = created.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::FolderInUse(path.to_owned()),
            _ => io(&file)(error),
        })?;
        created.write_all(run_file.as_bytes()).map_err(io(&file))?;
        let folder = Self::open(path)?;
        folder.with(|files| files.metrics.write_all(METRICS_HEADER.as_bytes()))?;
        Ok(folder)
    }

    /// Goes on with the run in `path`, which must have been started with the configuration `config`.
    ///
    /// # Errors
    /// There is no such run, or it is broken.
    pub fn resume(path: &Path, config: Digest) -> Result<(Self, Resumed), Error> {
        let rows = read_rows(&path.join("journal.jsonl"))?;
        let Some(Row::RunCreated { config: created, .. }) = rows.first() else {
            return Err(Error::Broken { path: path.to_owned(), why: "its journal is empty".to_owned() });
        };
        if *created != config {
            return Err(Error::OtherConfiguration(path.to_owned()));
        }
        let committed = rows.iter().rev().find_map(|row| match row {
            Row::ModelCommitted { digest, .. } => Some(*digest),
            _ => None,
        });
        let mut resumed = Resumed { rows, model: None, optimizer: Vec::new() };
        if let Some(digest) = committed {
            let file = path.join("model.safetensors");
            let broken = |why: String| Error::Broken { path: file.clone(), why };
            let model = safetensors::read(&file).map_err(|error| broken(error.to_string()))?;
            if model.digest() != digest {
                let why = format!("its digest is {}, the journal says {}", model.digest().short(), digest.short());
                return Err(broken(why));
            }
            let state = path.join("optimizer.bin");
            resumed.optimizer = fs::read(&state).map_err(io(&state))?;
            resumed.model = Some(model);
        }
        Ok((Self::open(path)?, resumed))
    }

    fn open(path: &Path) -> Result<Self, Error> {
        let append = |name: &str| {
            let file = path.join(name);
            OpenOptions::new().create(true).append(true).open(&file).map_err(io(&file))
        };
        let files = Files {
            journal: append("journal.jsonl")?,
            events: append("events.jsonl")?,
            metrics: append("metrics.csv")?,
        };
        Ok(Self { path: path.to_owned(), files: Mutex::new(files) })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn with(&self, write: impl FnOnce(&mut Files) -> std::io::Result<()>) -> Result<(), Error> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut files).map_err(io(&self.path))
    }

    /// Writes a file beside its place, then renames it.
    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let target = self.path.join(name);
        let beside = self.path.join(format!("{name}.new"));
        let written = File::create(&beside).and_then(|file| {
            let mut writer = BufWriter::new(file);
            write(&mut writer)?;
            writer.flush()
        });
        written.and_then(|()| fs::rename(&beside, &target)).map_err(io(&target))
    }
}

fn read_rows(path: &Path) -> Result<Vec<Row>, Error> {
    let broken = |why: String| Error::Broken { path: path.to_owned(), why };
    let mut reader = BufReader::new(File::open(path).map_err(|error| broken(error.to_string()))?);
    let mut rows = Vec::new();
    loop {
        let mut line = String::new();
        let read = (&mut reader).take(ROW_BYTES_MAX).read_line(&mut line).map_err(|error| broken(error.to_string()))?;
        if read == 0 {
            return Ok(rows);
        }
        match serde_json::from_str(&line) {
            Ok(row) => rows.push(row),
            // The process ended while it wrote: what was not whole was never acknowledged.
            Err(_) if !line.ends_with('\n') => return Ok(rows),
            Err(error) => return Err(broken(format!("line {}: {error}", rows.len() + 1))),
        }
    }
}

impl Store for Folder {
    fn append(&self, row: &Row) -> Result<(), Error> {
        let mut line = serde_json::to_vec(row).expect("rows are plain data");
        line.push(b'\n');
        self.with(|files| files.journal.write_all(&line))
    }

    fn keep(&self, _version: Version, model: &Parameters, optimizer: &[u8]) -> Result<(), Error> {
        self.replace("optimizer.bin", |file| file.write_all(optimizer))?;
        self.replace("model.safetensors", |file| safetensors::write_to(model, file))
    }

    fn mark_best(&self) -> Result<(), Error> {
        let model = self.path.join("model.safetensors");
        let beside = self.path.join("best.safetensors.new");
        let copied = fs::copy(&model, &beside).and_then(|_| fs::rename(&beside, self.path.join("best.safetensors")));
        copied.map_err(io(&model))
    }

    fn event(&self, event: &Event) -> Result<(), Error> {
        let mut line = serde_json::to_vec(event).expect("events are plain data");
        line.push(b'\n');
        self.with(|files| {
            files.events.write_all(&line)?;
            match event {
                Event::Round(line) => files.metrics.write_all(metrics_line(line).as_bytes()),
                _ => Ok(()),
            }
        })
    }

    fn model_path(&self) -> Option<PathBuf> {
        Some(self.path.join("model.safetensors"))
    }

    fn spool(&self) -> Option<PathBuf> {
        Some(self.path.clone())
    }
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
    use tributary_common::parameters::{Dtype, Layout};

    const TICKET: Ticket = Ticket::Train { round: Round(1), attempt: Attempt(0) };

    fn created() -> Row {
        Row::RunCreated { run: RunId([7; 16]), config: Digest([1; 32]), model: Digest([2; 32]) }
    }

    fn model() -> Parameters {
        Parameters::zeros(Layout::new([("w", Dtype::F32, vec![4])]).unwrap())
    }

    #[test]
    fn a_run_is_found_again_with_its_last_version() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::create(folder.path(), "run").unwrap();
        let digest = model().digest();
        store.append(&created()).unwrap();
        store.keep(Version(1), &model(), &[1; 8]).unwrap();
        store.append(&Row::ModelCommitted { ticket: TICKET, version: Version(1), digest, weight: 3 }).unwrap();
        store.mark_best().unwrap();
        let (_, resumed) = Folder::resume(folder.path(), Digest([1; 32])).unwrap();
        assert_eq!((resumed.rows.len(), resumed.model, resumed.optimizer), (2, Some(model()), vec![1; 8]));
        assert!(folder.path().join("best.safetensors").exists());
    }

    #[test]
    fn other_runs_and_other_configurations_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::create(folder.path(), "run").unwrap();
        store.append(&created()).unwrap();
        assert!(matches!(Folder::create(folder.path(), "run"), Err(Error::FolderInUse(_))));
        assert!(matches!(Folder::resume(folder.path(), Digest([9; 32])), Err(Error::OtherConfiguration(_))));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(Folder::resume(empty.path(), Digest([1; 32])), Err(Error::Broken { .. })));
    }

    #[test]
    fn a_torn_last_row_is_forgotten_and_a_broken_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::create(folder.path(), "run").unwrap();
        store.append(&created()).unwrap();
        store.with(|files| files.journal.write_all(b"{\"row\":\"RoundCl")).unwrap();
        let (_, resumed) = Folder::resume(folder.path(), Digest([1; 32])).unwrap();
        assert_eq!(resumed.rows, [created()]);
        store.with(|files| files.journal.write_all(b"\n")).unwrap();
        let error = Folder::resume(folder.path(), Digest([1; 32])).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn a_model_that_is_not_the_committed_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::create(folder.path(), "run").unwrap();
        store.append(&created()).unwrap();
        store.keep(Version(1), &model(), &[]).unwrap();
        let digest = Digest([9; 32]);
        store.append(&Row::ModelCommitted { ticket: TICKET, version: Version(1), digest, weight: 3 }).unwrap();
        let error = Folder::resume(folder.path(), Digest([1; 32])).unwrap_err();
        assert!(error.to_string().contains("the journal says 09090909"), "{error}");
    }
}
