//! Registries: every choice that a run file can name is one row of a const slice.

use super::{Error, Item, Table};

/// One choice: its name, one line of help, and how to read its own options.
#[derive(Debug)]
pub struct Row<T> {
    /// As typed in `kind = "…"`.
    pub name: &'static str,
    /// One line for `tributary list`.
    pub help: &'static str,
    /// Builds the choice from its table, from which `kind` is already taken; unknown keys are refused by the caller.
    pub parse: fn(&mut Table) -> Result<T, Error>,
}

/// Looking things up in registries.
pub mod choose {
    use super::{Error, Item, Row, Table};
    use crate::registry::closest;

    /// Reads `{ kind = "name", … }` or plain `"name"` with the row of that name; `what` says what is being chosen.
    ///
    /// # Errors
    /// Unknown name (with the nearest one as hint), or the row's own complaint.
    pub fn from_item<T>(rows: &[Row<T>], what: &str, item: Item) -> Result<T, Error> {
        let (word, mut table) = if item.is_text() {
            let word = item.clone();
            let empty = Table::new(item.file, item.path, item.node.line, std::collections::BTreeMap::new());
            (word, empty)
        } else {
            let mut table = item.table()?;
            (table.required("kind")?, table)
        };
        let row = find(rows, what, &word)?;
        let choice = (row.parse)(&mut table)?;
        table.finish()?;
        Ok(choice)
    }

    /// The row that `word` names.
    ///
    /// # Errors
    /// Unknown name, with the nearest one as hint.
    pub fn find<'a, T>(rows: &'a [Row<T>], what: &str, word: &Item) -> Result<&'a Row<T>, Error> {
        let name = word.text()?;
        rows.iter().find(|row| row.name == name).ok_or_else(|| {
            let names: Vec<_> = rows.iter().map(|row| row.name).collect();
            word.fail(format!("unknown {what} `{name}`")).with_hint(hint(name, &names))
        })
    }

    /// One of `values` by its word.
    ///
    /// # Errors
    /// Unknown word, with the nearest one as hint.
    pub fn word<T: Copy>(values: &[(&'static str, T)], what: &str, item: &Item) -> Result<T, Error> {
        let name = item.text()?;
        values.iter().find(|(word, _)| *word == name).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = values.iter().map(|(word, _)| *word).collect();
            item.fail(format!("unknown {what} `{name}`")).with_hint(hint(name, &names))
        })
    }

    /// "did you mean" if something is near, and what exists.
    pub(in crate::config) fn hint(name: &str, names: &[&'static str]) -> String {
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let all = sorted.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match closest(name, &sorted) {
            Some(near) => format!("did you mean `{near}`? possible: {all}"),
            None => format!("possible: {all}"),
        }
    }
}
