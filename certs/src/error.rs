//! What can go wrong with keys and certificates.

use std::io;
use std::path::PathBuf;

use tributary_common::identity::Identity;

/// A key or certificate that could not be made, read or trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("could not access `{}`: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file would be overwritten.
    #[error("could not write `{}`: it exists already", .0.display())]
    Exists(PathBuf),
    /// Others can read a private key.
    #[error("could not use the private key `{}`: others can read it (mode {mode:03o})", file.display())]
    KeyIsReadable {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file holds something else.
    #[error("could not read `{}`: {why}", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate is no identity of a federation.
    #[error("could not read an identity from the certificate: {0}")]
    NoIdentity(String),
    /// A peer would refuse this certificate.
    #[error("could not use the certificate of `{identity}`: {why}")]
    Refused {
        /// Whose certificate.
        identity: Identity,
        /// What a peer would say.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// Nothing of this member can be taken back.
    #[error("could not revoke `{name}`: {why}")]
    NotRevoked {
        /// The name that was given.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// A folder that should hold a coordinator's identity does not.
    #[error("could not install the list of revoked certificates in `{}`: {why}", folder.display())]
    NoCoordinator {
        /// The folder.
        folder: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// Somebody put an older list in the place of a newer one.
    #[error("could not use the list of revoked certificates `{}`: it is older than the one in use", .0.display())]
    OlderList(PathBuf),
    /// Names that cannot stand in a certificate.
    #[error("could not issue a certificate: {0}")]
    NotIssued(String),
    /// The TLS library refused.
    #[error("could not set up TLS: {0}")]
    Tls(String),
}

impl Error {
    /// What to do, where the problem suggests it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::KeyIsReadable { file, .. } => Some(format!("run `chmod 600 {}`", file.display())),
            Self::Exists(file) => {
                Some(format!("choose another folder, or move `{}` away if it is not needed", file.display()))
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(
                "make an authority with `tributary certs init`, identities with `tributary certs issue`".to_owned(),
            ),
            Self::Refused { hint, .. } => Some((*hint).to_owned()),
            Self::NotRevoked { .. } => {
                Some("look at the names in the file `issued` of the authority's folder".to_owned())
            }
            Self::NoCoordinator { .. } => {
                Some("name the identity folder of a coordinator, which holds its `chain.pem`".to_owned())
            }
            Self::OlderList(_) => Some("copy `revoked.crl` from the authority's folder again".to_owned()),
            Self::Broken { .. } | Self::Io { .. } | Self::NoIdentity(_) | Self::NotIssued(_) | Self::Tls(_) => None,
        }
    }
}
