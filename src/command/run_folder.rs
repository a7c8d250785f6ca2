//! Where a run is kept: the folder that was named, or a new numbered one, or the one of an unfinished run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tributary_common::event::Event;
use tributary_common::id::RunId;
use tributary_common::parameters::Parameters;
use tributary_coordinator::optimize::Optimizer;
use tributary_coordinator::round::Row;
use tributary_coordinator::store::{Durability, Folder, Journal, Keeping, Memory, Past, Store};

use crate::exit::{Failure, INVALID, of_store};
use crate::file::RunFile;

/// Below this folder runs are numbered.
const RUNS: &str = "runs";

/// A run that begins or goes on.
pub(super) struct Begun {
    pub(super) id: RunId,
    pub(super) model: Parameters,
    pub(super) optimizer: Optimizer,
    pub(super) past: Past,
    pub(super) store: Arc<dyn Store>,
    pub(super) journal: Option<Journal>,
    pub(super) folder: Option<PathBuf>,
}

/// How a run's folder is chosen.
pub(super) enum Choice<'a> {
    /// Nothing is kept.
    Nowhere,
    /// A new numbered folder.
    New,
    /// A new numbered folder, or the newest if it holds an unfinished run of the same configuration.
    NewOrUnfinished,
    /// This folder, which must hold no run.
    Named(&'a Path),
    /// This folder, which may hold an unfinished run of the same configuration: it goes on then.
    NamedOrUnfinished(&'a Path),
    /// This folder, whose run goes on, or begins where nothing of it was kept.
    Resume(&'a Path),
    /// The newest numbered folder, which must hold an unfinished run of the same configuration.
    Unfinished,
}

pub(super) fn begin(file: &RunFile, choice: &Choice<'_>, durability: Durability, id: RunId) -> Result<Begun, Failure> {
    let keeping = Keeping { durability, models: file.strategy.keep_models };
    match choice {
        Choice::Nowhere => fresh(file, Arc::new(Memory), id),
        Choice::New => create(file, &numbered(file, 1)?, keeping, id),
        Choice::NewOrUnfinished => match numbered(file, 0)? {
            newest if is_unfinished(file, &newest) => resume(file, &newest, keeping),
            _ => create(file, &numbered(file, 1)?, keeping, id),
        },
        Choice::NamedOrUnfinished(path) if is_unfinished(file, path) => resume(file, path, keeping),
        Choice::Named(path) | Choice::NamedOrUnfinished(path) => create(file, path, keeping, id),
        Choice::Resume(path) if Folder::is_unbegun(path) => create(file, path, keeping, id),
        Choice::Resume(path) => resume(file, path, keeping),
        Choice::Unfinished => match numbered(file, 0)? {
            newest if is_unfinished(file, &newest) => resume(file, &newest, keeping),
            _ => Err(no_unfinished(file)),
        },
    }
}

fn no_unfinished(file: &RunFile) -> Failure {
    let text =
        format!("no unfinished run of `{}` with this configuration is the newest in `{RUNS}`", file.strategy.name);
    Failure::new(INVALID, text).with_hint(Some("name its folder with --out, or start a new run without --resume"))
}

fn create(file: &RunFile, path: &Path, keeping: Keeping, id: RunId) -> Result<Begun, Failure> {
    let (store, journal) = Folder::create(path, &file.text, keeping).map_err(|error| of_store(&error))?;
    Ok(Begun { journal: Some(journal), folder: Some(path.to_owned()), ..fresh(file, Arc::new(store), id)? })
}

fn fresh(file: &RunFile, store: Arc<dyn Store>, id: RunId) -> Result<Begun, Failure> {
    let model = file.initial_model()?;
    let optimizer = Optimizer::new(file.strategy.optimizer, model.layout().count());
    Ok(Begun { id, model, optimizer, past: Past::default(), store, journal: None, folder: None })
}

fn resume(file: &RunFile, path: &Path, keeping: Keeping) -> Result<Begun, Failure> {
    let layout = &file.strategy.model.layout;
    let resumed = Folder::resume(path, file.document.digest(), layout, keeping);
    let (store, journal, resumed) = resumed.map_err(|error| of_store(&error))?;
    let Some(Row::RunCreated { run, .. }) = resumed.past.rows.first().map(|first| &first.row) else {
        return Err(Failure::new(INVALID, format!("the run in `{}` has no beginning", path.display())));
    };
    let id = *run;
    let optimizer = Optimizer::with_state(file.strategy.optimizer, layout.count(), &resumed.optimizer);
    let optimizer = optimizer.ok_or_else(|| {
        let place = path.display();
        Failure::new(INVALID, format!("the server optimiser's state in `{place}` is not of this model"))
    })?;
    let model = resumed.model;
    let (past, store) = (resumed.past, Arc::new(store));
    Ok(Begun { id, model, optimizer, past, store, journal: Some(journal), folder: Some(path.to_owned()) })
}

/// The folder `ahead` places behind the newest of this name; with 0 the newest itself.
fn numbered(file: &RunFile, ahead: u32) -> Result<PathBuf, Failure> {
    let name = &file.strategy.name;
    let runs = Path::new(RUNS);
    let mut newest = 0_u32;
    if runs.exists() {
        let io = |error| Failure::new(INVALID, format!("could not look into `{RUNS}`: {error}"));
        for entry in std::fs::read_dir(runs).map_err(io)? {
            let entry = entry.map_err(io)?.file_name();
            let number =
                entry.to_str().and_then(|entry| entry.strip_prefix(name.as_str())?.strip_prefix('-')?.parse().ok());
            newest = newest.max(number.unwrap_or(0));
        }
    }
    Ok(runs.join(format!("{name}-{:03}", newest + ahead)))
}

/// Whether `path` holds a run of this configuration without an end.
fn is_unfinished(file: &RunFile, path: &Path) -> bool {
    let Ok(found) = Journal::look(path) else { return false };
    let is_of_file = found
        .rows()
        .next()
        .is_some_and(|first| matches!(first.row, Row::RunCreated { config, .. } if config == file.document.digest()));
    let has_end = std::fs::read_to_string(path.join("events.jsonl")).is_ok_and(|events| {
        let last = events.lines().last().unwrap_or_default();
        matches!(serde_json::from_str(last), Ok(Event::Done(done)) if !done.is_pause())
    });
    is_of_file && !has_end
}
