//! What is wrong with data, where, and what to do.

use std::io;
use std::path::PathBuf;

use super::FILE_BYTES_MAX;

/// Data that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The examples are not what the run file describes.
    #[error("could not use {what}: {problem}")]
    DoesNotFit {
        /// The file or the built-in source.
        what: String,
        /// What differs.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A file is not of its format.
    #[error("could not read data file `{}`: {problem}", file.display())]
    FileBroken {
        /// The file.
        file: PathBuf,
        /// What was expected and found.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A file is beyond the limit.
    #[error("could not read data file `{}`: it holds more than {FILE_BYTES_MAX} bytes", file.display())]
    FileTooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A file cannot be opened or read.
    #[error("could not read data file `{}`: {source}", file.display())]
    FileUnreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One row is wrong.
    #[error("could not use data file `{}`, {place}: {problem}", file.display())]
    RowBroken {
        /// The file.
        file: PathBuf,
        /// Line and column of a table, or the number of the row.
        place: String,
        /// What is wrong; never the value itself.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// The name of the source is unknown or incomplete.
    #[error("could not find data source `{source_text}`: {problem}")]
    SourceUnknown {
        /// What was typed.
        source_text: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// The source has no test files of its own.
    #[error("could not take test rows from {what}: it has no test files of its own")]
    TestMissing {
        /// The file or the built-in source.
        what: String,
    },
}

impl Error {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DoesNotFit { hint, .. }
            | Self::FileBroken { hint, .. }
            | Self::RowBroken { hint, .. }
            | Self::SourceUnknown { hint, .. } => Some(hint.clone()),
            Self::FileTooLarge { .. } => Some("split the file among several clients".to_owned()),
            Self::FileUnreadable { .. } => {
                let hint = "check the path and its permissions: in a run file a path is relative to that file, on the command \
                            line to the working directory";
                Some(hint.to_owned())
            }
            Self::TestMissing { .. } => Some("write data.test = { every = 5 } to hold out every fifth row".to_owned()),
        }
    }
}
