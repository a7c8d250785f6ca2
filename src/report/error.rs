//! Why a run folder cannot be told as a story.

use std::path::PathBuf;

use super::story::LINE_BYTES_MAX;

/// What went wrong, named by file and line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// A line in the middle is no event of this version.
    #[error("could not read `{}`, line {line}: not an event of this version", path.display())]
    BrokenLine {
        /// The events.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser found.
        source: serde_json::Error,
    },
    /// A line is longer than any event can be.
    #[error("could not read `{}`, line {line}: longer than {LINE_BYTES_MAX} bytes", path.display())]
    LongLine {
        /// The events.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// There are no events of a run.
    #[error("could not read `{}`: it does not tell of any run", path.display())]
    NoRun {
        /// The events.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("could not read `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Error {
    /// What the user can do.
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::BrokenLine { .. } | Self::LongLine { .. } => {
                "make the report with the version of tributary that wrote the events, or delete the line"
            }
            Self::NoRun { .. } => "wait until the run has begun, then make the report again",
            Self::Unreadable { .. } => "name a run folder: it holds `run.toml` and `events.jsonl`",
        }
    }
}
