//! A table of a run file that is emptied key by key; what is left in the end is a mistake.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::item::{Item, Node};
use super::{Error, choose};
use crate::registry::closest;

/// A table of a run file. Take every key that means something, then call [`Table::finish`].
#[derive(Clone, Debug)]
pub struct Table {
    file: Arc<str>,
    path: String,
    line: Option<usize>,
    entries: BTreeMap<String, Node>,
    /// Every key that was asked for, so that an unknown one can be compared with those that exist.
    known: Vec<&'static str>,
}

impl Table {
    pub(super) const fn new(
        file: Arc<str>,
        path: String,
        line: Option<usize>,
        entries: BTreeMap<String, Node>,
    ) -> Self {
        Self { file, path, line, entries, known: Vec::new() }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A problem of the table as a whole.
    #[must_use]
    pub fn fail(&self, problem: impl Into<String>) -> Error {
        Error { file: self.file.to_string(), line: self.line, problem: problem.into(), hint: None }
    }

    /// The value of `key`, if it was typed.
    pub fn optional(&mut self, key: &'static str) -> Option<Item> {
        self.known.push(key);
        let node = self.entries.remove(key)?;
        Some(Item { file: Arc::clone(&self.file), path: self.path_of(key), node })
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// It was not typed.
    pub fn required(&mut self, key: &'static str) -> Result<Item, Error> {
        self.optional(key).ok_or_else(|| {
            // A slip of the finger: what was typed instead says more than what is missing.
            let typed: Vec<&str> = self.entries.keys().map(String::as_str).collect();
            match closest(key, &typed) {
                Some(slip) => self.unknown(slip, self.entries[slip].line),
                None => self.fail(format!("`{}` is missing", self.path_of(key))),
            }
        })
    }

    /// The table under `key`; an empty one if it was not typed.
    ///
    /// # Errors
    /// The value is no table.
    pub fn section(&mut self, key: &'static str) -> Result<Self, Error> {
        self.optional(key).map_or_else(
            || Ok(Self::new(Arc::clone(&self.file), self.path_of(key), self.line, BTreeMap::new())),
            Item::table,
        )
    }

    /// Whether `key` was typed and not taken yet.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Keys are left that nobody asked for.
    pub fn finish(self) -> Result<(), Error> {
        match self.entries.iter().min_by_key(|(_, node)| node.line) {
            Some((key, node)) => Err(self.unknown(key, node.line)),
            None => Ok(()),
        }
    }

    fn unknown(&self, key: &str, line: Option<usize>) -> Error {
        let problem = if self.path.is_empty() {
            format!("unknown section or key `{key}`")
        } else {
            format!("unknown key `{key}` in `{}`", self.path)
        };
        Error { file: self.file.to_string(), line, problem, hint: Some(choose::hint(key, &self.known)) }
    }
}
