//! Files that are whole or not there: written beside their place, made safe, renamed.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind};
use std::path::Path;

use super::{Error, io};

/// What a run outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: what was said to be kept went through fsync. For served runs, whose clients forget what was
    /// acknowledged.
    Power,
    /// The end of the process, however sudden. For simulated runs: they can be computed again, and fsync would cost more
    /// than their rounds.
    Process,
}

impl Durability {
    /// Makes what was written to `file` safe.
    pub(super) fn settle(self, file: &File) -> std::io::Result<()> {
        match self {
            Self::Power => file.sync_all(),
            Self::Process => Ok(()),
        }
    }

    /// Makes the names in `folder` safe: a renamed file is found again only after this.
    pub(super) fn settle_names(self, folder: &Path) -> Result<(), Error> {
        match self {
            Self::Power => File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder)),
            Self::Process => Ok(()),
        }
    }
}

/// Puts a file in its place; its folder's names are not settled yet.
pub(super) fn replace(
    target: &Path,
    durability: Durability,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<(), Error> {
    let beside = beside(target);
    let written = File::create(&beside).and_then(|file| {
        let mut writer = BufWriter::new(file);
        write(&mut writer)?;
        durability.settle(&writer.into_inner()?)
    });
    written.and_then(|()| fs::rename(&beside, target)).map_err(io(target))
}

/// Makes `target` another name of `file`. Where the file system knows no second names, it becomes a copy.
pub(super) fn link(file: &Path, target: &Path, durability: Durability) -> Result<(), Error> {
    let beside = beside(target);
    remove(&beside)?;
    let linked = fs::hard_link(file, &beside).or_else(|_| {
        fs::copy(file, &beside)?;
        durability.settle(&File::open(&beside)?)
    });
    linked.and_then(|()| fs::rename(&beside, target)).map_err(io(target))?;
    // A rename onto another name of the same file does nothing and leaves both.
    remove(&beside)
}

/// Removes a file that may be gone already.
pub(super) fn remove(file: &Path) -> Result<(), Error> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io(file)(error)),
        _ => Ok(()),
    }
}

fn beside(target: &Path) -> std::path::PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// What goes wrong without it: the second link of the same file leaves its temporary name, and the third one fails.
    #[test]
    fn a_file_may_be_linked_to_the_same_name_again() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other, name) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("last"));
        fs::write(&file, "a").unwrap();
        fs::write(&other, "b").unwrap();
        for (which, expected) in [(&file, "a"), (&file, "a"), (&other, "b"), (&file, "a")] {
            link(which, &name, Durability::Power).unwrap();
            assert_eq!(fs::read_to_string(&name).unwrap(), expected);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        replace(&file, Durability::Power, |writer| writer.write_all(b"old")).unwrap();
        let full = replace(&file, Durability::Power, |writer| {
            writer.write_all(b"ne")?;
            Err(ErrorKind::StorageFull.into())
        });
        assert!(matches!(full, Err(Error::Io { .. })));
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    }
}
