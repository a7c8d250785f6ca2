//! Files of keys and certificates: keys are created unreadable to others, never changed to be so afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// The largest key or certificate file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Held while a folder is changed.
const LOCK: &str = "lock";

/// Permission bits of private keys: nobody but the owner.
const KEY_MODE: u32 = 0o600;

/// Permission bits of certificates, which are public.
const CERTIFICATE_MODE: u32 = 0o644;

pub(crate) fn write_key(path: &Path, pem: &str) -> Result<(), Error> {
    write(path, pem, KEY_MODE)
}

pub(crate) fn write_certificate(path: &Path, pem: &str) -> Result<(), Error> {
    write(path, pem, CERTIFICATE_MODE)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::Io { file: path.to_owned(), source },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
}

/// Puts `text` in the place of what `path` holds: readers see the old file or the new one, never a part.
pub(crate) fn replace_public(path: &Path, text: &str) -> Result<(), Error> {
    replace(path, text, CERTIFICATE_MODE)
}

/// As [`replace_public`], for files that only their owner may read.
pub(crate) fn replace_private(path: &Path, text: &str) -> Result<(), Error> {
    replace(path, text, KEY_MODE)
}

fn replace(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let io = |source| Error::Io { file: path.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    // What a crash left behind is nobody's.
    remove_if_there(beside)?;
    write(beside, text, mode)?;
    fs::rename(beside, path).map_err(io)?;
    sync_folder_of(path)
}

/// Removes a file; one that is not there is removed already.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::Io { file: path.to_owned(), source: error }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The files in a folder, in no order; none where there is no folder.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let io = |source| Error::Io { file: folder.to_owned(), source };
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(io)).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io(error)),
    }
}

/// Makes a new name in a folder survive a power cut.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    open(folder)?.sync_all().map_err(|source| Error::Io { file: folder.to_owned(), source })
}

/// Holds off every other process that changes this folder, until the file is dropped.
pub(crate) fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let io = |source| Error::Io { file: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(KEY_MODE).open(&path).map_err(io)?;
    file.lock().map_err(io)?;
    Ok(file)
}

pub(crate) fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::Io { file: path.to_owned(), source })
}

/// Asked before the first of several files is written, so that a folder never ends up half old and half new.
pub(crate) fn refuse_existing(paths: &[&Path]) -> Result<(), Error> {
    // A dangling link counts as existing, as it does when the file is created.
    paths.iter().find(|path| path.symlink_metadata().is_ok()).map_or(Ok(()), |path| Err(Error::Exists((*path).into())))
}

pub(crate) fn read_key(path: &Path) -> Result<String, Error> {
    let file = open(path)?;
    // Asked of the open file: the path could lead elsewhere a moment later.
    let metadata = file.metadata().map_err(|source| Error::Io { file: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::KeyIsReadable { file: path.to_owned(), mode });
    }
    read_open(&file, path, FILE_BYTES_MAX)
}

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    read_up_to(path, FILE_BYTES_MAX)
}

/// Reads a text file of at most `bytes_max` bytes.
pub(crate) fn read_up_to(path: &Path, bytes_max: u64) -> Result<String, Error> {
    read_open(&open(path)?, path, bytes_max)
}

/// As [`read_up_to`]; nothing where there is no file.
pub(crate) fn read_if_there(path: &Path, bytes_max: u64) -> Result<Option<String>, Error> {
    match read_up_to(path, bytes_max) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Io { file: path.to_owned(), source })
}

fn read_open(file: &File, path: &Path, bytes_max: u64) -> Result<String, Error> {
    let io = |source| Error::Io { file: path.to_owned(), source };
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > bytes_max {
        let why = format!("it is larger than {bytes_max} bytes");
        return Err(Error::Broken { file: path.to_owned(), why });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_private_from_birth_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_key(&path, "secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(write_key(&path, "other"), Err(Error::Exists(_))));
        assert_eq!(read_key(&path).unwrap(), "secret");
    }

    #[test]
    fn keys_that_others_can_read_are_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_key(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_key(&path).unwrap_err();
        assert!(error.hint().unwrap().starts_with("run `chmod 600"), "{error}");
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn oversized_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        write_certificate(&path, &"x".repeat(70_000)).unwrap();
        assert!(matches!(read(&path), Err(Error::Broken { .. })));
    }
}
