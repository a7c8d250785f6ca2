//! The secret by which a coordinator is recognised after a restart, in a file of its own beside the identity's key: keys
//! change with every renewal, and a coordinator that came back with other secrets would be a stranger to its clients.

use std::io::ErrorKind;
use std::path::Path;

use tributary_common::Digest;

use crate::{Error, files};

/// The file in a coordinator's identity folder.
const FILE: &str = "endpoint.key";

/// 256 bits. [`std::fmt::Debug`] does not show them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EndpointSecret([u8; 32]);

impl std::fmt::Debug for EndpointSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndpointSecret")
    }
}

impl EndpointSecret {
    /// The secret that follows from an identity's key.
    pub(crate) fn derive(key: &[u8]) -> Self {
        Self(blake3::derive_key("tributary 2026-11 endpoint", key))
    }

    /// What an identity folder holds, if anything.
    pub(crate) fn of(folder: &Path) -> Result<Option<Self>, Error> {
        let file = folder.join(FILE);
        match files::read_key(&file) {
            Ok(text) => {
                let secret = text.trim_end().parse::<Digest>();
                let broken = |_| Error::Broken { file, why: "it holds no 64 hexadecimal digits".to_owned() };
                secret.map(|digits| Some(Self(digits.0))).map_err(broken)
            }
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it into an identity folder.
    pub(crate) fn keep(&self, folder: &Path) -> Result<(), Error> {
        files::replace_private(&folder.join(FILE), &format!("{}\n", Digest(self.0)))
    }

    /// What the members' port is recognised by.
    #[must_use]
    pub const fn members(&self) -> [u8; 32] {
        self.0
    }

    /// What the port for joining is recognised by.
    #[must_use]
    pub fn joining(&self) -> [u8; 32] {
        blake3::derive_key("tributary 2026-11 joining endpoint", &self.0)
    }
}
