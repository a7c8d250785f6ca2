//! The list as a file that changes while it is in use.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tributary_common::identity::Role;

use super::{RevocationList, Revocations};
use crate::credentials::CHAIN;
use crate::{Error, files, peer};

/// The name of the list in an authority's folder and in a coordinator's identity folder.
pub const FILE: &str = "revoked.crl";

/// The largest list that is read, in bytes: some sixty thousand certificates.
pub(super) const BYTES_MAX: u64 = 4 << 20;

/// What tells one state of a file from another without reading it. A list is put in place by renaming, so it always has
/// another inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl State {
    fn of(path: &Path) -> Result<Option<Self>, Error> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self {
                inode: metadata.ino(),
                bytes: metadata.len(),
                changed: (metadata.mtime(), metadata.mtime_nsec()),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { file: path.to_owned(), source }),
        }
    }
}

/// Puts a copy of a list into a coordinator's identity folder. A running coordinator sees the old list or the new one.
///
/// # Errors
/// The list cannot be read, or the folder is not that of a coordinator's identity or cannot be written.
pub fn install(list: &Path, identity: &Path) -> Result<(), Error> {
    let other = |why: String| Error::NoCoordinator { folder: identity.to_owned(), why };
    let chain = identity.join(CHAIN);
    let text = files::read_if_there(&chain, BYTES_MAX)?.ok_or_else(|| other(format!("there is no `{CHAIN}` in it")))?;
    let leaf = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| other(error.to_string()))?;
    let holder = peer::identity(&[leaf]).map_err(|error| other(error.to_string()))?;
    if holder.role != Role::Coordinator {
        return Err(other(format!("it is that of `{holder}`")));
    }
    files::replace_public(&identity.join(FILE), &files::read_up_to(list, BYTES_MAX)?)
}

/// A file whose list is in use. It may come into being later.
#[derive(Debug)]
pub struct RevocationFile {
    path: PathBuf,
    roots: Vec<CertificateDer<'static>>,
    seen: Option<State>,
    revocations: Arc<Revocations>,
}

impl RevocationFile {
    /// Takes the list in `path` into use, if there is one.
    ///
    /// # Errors
    /// There is one that cannot be read or that no authority under `roots` signed: better not to begin than to let in who
    /// was revoked.
    pub fn open(path: &Path, roots: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let mut file = Self {
            path: path.to_owned(),
            roots: roots.to_vec(),
            seen: None,
            revocations: Arc::new(Revocations::default()),
        };
        file.look()?;
        Ok(file)
    }

    /// The list in use.
    #[must_use]
    pub fn revocations(&self) -> Arc<Revocations> {
        Arc::clone(&self.revocations)
    }

    /// Looks whether the file has changed, and takes a newer list into use; true if that happened. What is wrong with a
    /// changed file is said once, and the list before it stays in use: nobody gets in by spoiling or removing a file.
    ///
    /// # Errors
    /// The file cannot be read, is no list, or is an older one.
    pub fn look(&mut self) -> Result<bool, Error> {
        let state = State::of(&self.path)?;
        if state == self.seen {
            return Ok(false);
        }
        self.seen = state;
        let Some(text) = files::read_if_there(&self.path, BYTES_MAX)? else { return Ok(false) };
        let list =
            RevocationList::parse(&text, &self.roots).map_err(|why| Error::Broken { file: self.path.clone(), why })?;
        let held = self.revocations.list();
        if list.is_older_than(&held) {
            return Err(Error::OlderList(self.path.clone()));
        }
        let is_new = list != *held;
        self.revocations.replace(list);
        Ok(is_new)
    }
}
