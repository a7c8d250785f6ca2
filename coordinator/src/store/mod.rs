//! Where a run is kept: rows and updates in the journal, versions and events beside it.
//!
//! The order is the machine's: a row is asked for, and what depends on it waits until the journal says that it is safe.

mod disk;
mod folder;
mod history;
pub mod journal;
mod memory;
mod models;
mod told;
mod unbegun;
mod verify;

use std::path::{Path, PathBuf};

use tributary_common::event::Event;
use tributary_common::id::Version;
use tributary_common::parameters::Parameters;

pub use disk::Durability;
pub use folder::{Folder, Keeping, Resumed, roll_back};
pub use history::{Chapter, History, Outcome, Part};
pub use journal::{Journal, Past, Retained};
pub use memory::Memory;
pub use models::Kept;
pub use verify::{Verified, verify};

/// What cannot be kept or found again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("could not keep the run in `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder holds something already.
    #[error("could not start a run in `{}`: it holds a run already", .0.display())]
    FolderInUse(PathBuf),
    /// There is no run.
    #[error("could not find a run in `{}`: it holds no `journal.sqlite`", .0.display())]
    NoRun(PathBuf),
    /// Another process writes there.
    #[error("could not take up the run in `{}`: another process is at work on it", .0.display())]
    InUse(PathBuf),
    /// The journal cannot be read or written.
    #[error("could not keep the journal `{}`: {why}", path.display())]
    Journal {
        /// Its file.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// The folder holds a run of another configuration.
    #[error("could not resume the run in `{}`: it was started with another configuration", .0.display())]
    OtherConfiguration(PathBuf),
    /// The version is not there to go back to.
    #[error("could not go back to version {version} of the run in `{}`: it is not kept", path.display())]
    NotKept {
        /// The run's folder.
        path: PathBuf,
        /// What was asked for.
        version: Version,
        /// What is there.
        kept: Vec<Version>,
    },
    /// The folder holds a broken run.
    #[error("could not read the run in `{}`: {why}", path.display())]
    Broken {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// What to do, where the problem suggests it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::FolderInUse(_) => Some("choose another folder with --out, or go on with --resume"),
            Self::OtherConfiguration(_) => Some("choose another folder with --out, or use the run file that is in it"),
            Self::NoRun(_) => Some("name the folder of a run, such as runs/NAME-001"),
            Self::InUse(_) => Some("stop that process first, or choose another folder with --out"),
            Self::Journal { .. } => {
                Some("see whether the disk is full or the folder may not be written; then start again")
            }
            Self::NotKept { kept, .. } => {
                let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
                return Some(format!("these versions are kept: {}", kept.join(", ")));
            }
            Self::Io { .. } | Self::Broken { .. } => None,
        };
        hint.map(str::to_owned)
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

/// A place for what a run makes, its rows aside: those are a [`Journal`]'s. Methods take `&self`: the driver tells events,
/// the fold thread keeps models.
pub trait Store: Send + Sync {
    /// Keeps a version and the server optimiser's state after it, and returns what the version's row says of that. When
    /// this returns, both are as safe as this store makes them. All versions before it are committed by then.
    ///
    /// # Errors
    /// They cannot be kept; the run must stop.
    fn keep(&self, version: Version, model: &Parameters, optimizer: &[u8]) -> Result<Retained, Error>;

    /// Marks a version as the best so far, if it is still kept.
    ///
    /// # Errors
    /// As [`Store::keep`].
    fn mark_best(&self, version: Version) -> Result<(), Error>;

    /// Keeps an event.
    ///
    /// # Errors
    /// As [`Store::keep`].
    fn event(&self, event: &Event) -> Result<(), Error>;

    /// Where the last version is, if it is a file.
    fn model_path(&self) -> Option<PathBuf>;

    /// The run's own folder, if it has one.
    fn folder(&self) -> Option<PathBuf>;

    /// A folder for updates on their way, if there is one.
    fn spool(&self) -> Option<PathBuf>;
}
