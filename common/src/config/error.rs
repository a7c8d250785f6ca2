//! What is wrong with a run file, where, and what to do about it.

use std::fmt;

/// A problem in a run file; shown as "run file `x.toml`, line 14: …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub(super) file: String,
    pub(super) line: Option<usize>,
    pub(super) problem: String,
    pub(super) hint: Option<String>,
}

impl Error {
    /// A problem that belongs to no file: a value given to a library call.
    #[must_use]
    pub fn new(problem: impl Into<String>) -> Self {
        Self { file: String::new(), line: None, problem: problem.into(), hint: None }
    }

    /// The same problem with one imperative sentence that says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do, where the problem suggests it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The line, counted from 1; none for what was given by `--set`.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => f.write_str(&self.problem),
            (file, Some(line)) => write!(f, "run file `{file}`, line {line}: {}", self.problem),
            (file, None) => write!(f, "run file `{file}` with --set: {}", self.problem),
        }
    }
}

impl std::error::Error for Error {}
