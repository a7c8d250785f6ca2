//! Whether a run's files are what its journal says.

use std::path::Path;

use serde::Serialize;
use tributary_common::id::Version;

use super::journal::Journal;
use super::{Error, Kept, models};

/// What was looked at and found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Rows, each bound to the one before.
    pub rows: usize,
    /// Versions that are kept, with the server optimiser's states.
    pub versions: usize,
    /// Accepted updates of the open round.
    pub updates: usize,
    /// The version that the run stands on.
    pub version: Version,
}

/// Checks the chain of rows, then every version that is kept or should be, then the accepted updates of the open round.
///
/// # Errors
/// Names the first row or file that is not what it should be.
pub fn verify(run: &Path) -> Result<Verified, Error> {
    let found = Journal::look(run)?;
    let current = found.versions();
    let Some(last) = current.last() else {
        return Err(Error::Broken { path: run.to_owned(), why: "its journal is empty".to_owned() });
    };
    let from = found.kept_from().unwrap_or(last.version);
    let best = models::best(run);
    let must_be_there = |kept: &Kept| kept.version >= from && current.contains(kept) || best == Some(kept.model);
    let mut n_versions = 0;
    for kept in found.all_versions() {
        // Old versions are let go; some that a rollback took back are still there.
        if must_be_there(&kept) || models::file(run, kept).is_file() {
            models::read(run, kept)?;
            n_versions += 1;
        }
    }
    let (model, _) = models::read(run, *last)?;
    for update in &found.updates {
        update.check(model.layout())?;
    }
    let (rows, updates) = (found.entries.len(), found.updates.len());
    Ok(Verified { rows, versions: n_versions, updates, version: last.version })
}
