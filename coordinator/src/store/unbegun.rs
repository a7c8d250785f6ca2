//! What is left of a run whose process was gone before the first row was durable: nothing was promised to anybody, and the
//! next process begins as if there were nothing.

use std::fs;
use std::path::Path;

use super::folder::EVENTS;
use super::journal::Journal;

/// Whether the folder at `path` holds a journal without a row. One that rounds were told of has lost its rows: that is
/// damage, and nobody begins over it.
pub(super) fn is_left(path: &Path) -> bool {
    let is_told = |events: String| events.contains("\"event\":\"round\"");
    Journal::is_blank(path) && !fs::read_to_string(path.join(EVENTS)).is_ok_and(is_told)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Durability, Error, Folder, Keeping};
    use super::*;
    use tributary_common::Digest;
    use tributary_common::id::{RunId, Version};
    use tributary_common::parameters::{Dtype, Layout, Parameters};
    use tributary_common::time::Time;

    use super::super::Store;
    use super::super::journal::{Brings, Item};
    use crate::round::{Recorded, Row};

    const KEEPING: Keeping = Keeping { durability: Durability::Power, models: 3 };

    fn model() -> Parameters {
        Parameters::zeros(Layout::new([("w", Dtype::F32, vec![4])]).unwrap())
    }

    /// Begins a run in `path` and makes its first row durable.
    fn begin(path: &Path) -> Result<(), Error> {
        let (store, mut journal) = Folder::create(path, "run", KEEPING)?;
        let retained = store.keep(Version(0), &model(), &[])?;
        let row = Row::RunCreated { run: RunId([7; 16]), config: Digest([1; 32]), model: model().digest() };
        let recorded = Recorded { at: Time(1), row };
        journal.commit(vec![Item { recorded, wall_ms: 0, brings: Brings::Version(retained) }], Time(1))
    }

    /// What goes wrong without it: a coordinator that was killed in its first moment neither begins nor goes on in its folder.
    #[test]
    fn what_was_left_before_the_first_row_is_begun_again_whatever_is_there_of_it() {
        type Leave = fn(&Path);
        let leave: [Leave; 4] = [
            |path| drop(Folder::create(path, "an older file", KEEPING).unwrap()),
            |path| {
                let (store, _journal) = Folder::create(path, "an older file", KEEPING).unwrap();
                store.keep(Version(0), &model(), &[]).unwrap();
            },
            |path| fs::write(path.join("journal.sqlite"), "").unwrap(),
            |path| {
                let journal = rusqlite::Connection::open(path.join("journal.sqlite")).unwrap();
                journal.execute_batch("PRAGMA journal_mode=WAL; PRAGMA user_version=1;").unwrap();
            },
        ];
        for (index, leave) in leave.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path();
            leave(path);
            assert!(Folder::is_unbegun(path), "case {index}");
            begin(path).unwrap();
            assert!(!Folder::is_unbegun(path), "case {index}");
            assert_eq!(fs::read_to_string(path.join("run.toml")).unwrap(), "run");
            let metrics = fs::read_to_string(path.join("metrics.csv")).unwrap();
            assert_eq!(metrics.lines().count(), 1, "case {index}: one header");
            let layout = Arc::clone(model().layout());
            let (_, _, resumed) = Folder::resume(path, Digest([1; 32]), &layout, KEEPING).unwrap();
            assert_eq!((resumed.past.rows.len(), resumed.model), (1, model()), "case {index}");
        }
    }

    #[test]
    fn what_was_begun_told_or_is_somebody_elses_is_not_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(!Folder::is_unbegun(path) && !Folder::is_unbegun(&path.join("nothing")));
        // The process that begins it is still there.
        let begun = Folder::create(path, "run", KEEPING).unwrap();
        assert!(matches!(Folder::create(path, "run", KEEPING), Err(Error::InUse(_))));
        drop(begun);
        // Its rounds were told, and its rows are gone.
        fs::write(path.join("events.jsonl"), "{\"event\":\"round\"}\n").unwrap();
        assert!(!Folder::is_unbegun(path));
        assert!(matches!(begin(path), Err(Error::FolderInUse(_))));
        let layout = Arc::clone(model().layout());
        assert!(matches!(Folder::resume(path, Digest([1; 32]), &layout, KEEPING), Err(Error::Broken { .. })));
        // No journal of ours.
        for (name, text) in [("run.toml", "mine"), ("journal.sqlite", "not a database, and longer than its first page")]
        {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            assert!(matches!(begin(folder.path()), Err(Error::FolderInUse(_))), "{name}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }
}
