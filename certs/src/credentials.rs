//! What one member has: a certificate chain, its private key and the root that it trusts.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tributary_common::identity::Identity;

use crate::{Error, expiry, files, peer, tls};

/// The files of an identity folder.
const FILES: [&str; 3] = ["chain.pem", "key.pem", "root.pem"];

/// A member's certificate, key and root. [`fmt::Debug`] shows the identity only.
pub struct Credentials {
    identity: Identity,
    expires: SystemTime,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    root: CertificateDer<'static>,
    pem: [String; 3],
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.identity)
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            identity: self.identity.clone(),
            expires: self.expires,
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            root: self.root.clone(),
            pem: self.pem.clone(),
        }
    }
}

impl Credentials {
    /// Credentials from PEM texts: chain (leaf first), key, root.
    ///
    /// # Errors
    /// A text is no such PEM, the leaf is no identity, or the key is not its key.
    pub fn from_pem(chain: &str, key: &str, root: &str) -> Result<Self, Error> {
        let broken = |file: &str, why: String| Error::Broken { file: file.into(), why };
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| broken(FILES[0], error.to_string()))?;
        let leaf = certificates.first().ok_or_else(|| broken(FILES[0], "it holds no certificate".to_owned()))?;
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| broken(FILES[1], "it holds no private key".to_owned()))?;
        let trusted =
            CertificateDer::from_pem_slice(root.as_bytes()).map_err(|error| broken(FILES[2], error.to_string()))?;
        tls::certified_key(certificates.clone(), private.clone_key())
            .map_err(|error| broken(FILES[1], format!("it does not fit `{}`: {error}", FILES[0])))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).map_err(|error| broken(FILES[0], error.to_string()))?;
        let expires =
            expiry::of(&parsed).ok_or_else(|| broken(FILES[0], "its validity ends before 1970".to_owned()))?;
        Ok(Self {
            identity: peer::identity(&certificates)?,
            expires,
            chain: certificates,
            key: private,
            root: trusted,
            pem: [chain.to_owned(), key.to_owned(), root.to_owned()],
        })
    }

    /// Reads an identity folder: `chain.pem`, `key.pem`, `root.pem`.
    ///
    /// # Errors
    /// Files are missing, broken, or the key is readable by others.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let [chain, key, root] = FILES.map(|file| folder.join(file));
        let credentials = Self::from_pem(&files::read(&chain)?, &files::read_key(&key)?, &files::read(&root)?);
        credentials.map_err(|error| match error {
            Error::Broken { file, why } => Error::Broken { file: folder.join(file), why },
            other => other,
        })
    }

    /// Writes an identity folder, its key readable by the owner only.
    ///
    /// # Errors
    /// A file exists or cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        files::create_folder(folder)?;
        let [chain, key, root] = FILES.map(|file| folder.join(file));
        files::refuse_existing(&[&chain, &key, &root])?;
        files::write_key(&key, &self.pem[1])?;
        files::write_certificate(&chain, &self.pem[0])?;
        files::write_certificate(&root, &self.pem[2])
    }

    /// Who this is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificates that are sent, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The root that is trusted.
    #[must_use]
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// When the certificate ends.
    #[must_use]
    pub const fn expires(&self) -> SystemTime {
        self.expires
    }

    /// How long the certificate is still valid at `now`; none if it has ended.
    #[must_use]
    pub fn valid_for(&self, now: SystemTime) -> Option<Duration> {
        self.expires.duration_since(now).ok()
    }

    /// Judges the certificate as a peer of the same federation would: a program that asks this first can say what is
    /// wrong before it talks to anybody.
    ///
    /// # Errors
    /// A peer would refuse it at `now`.
    pub fn check(&self, now: SystemTime) -> Result<(), Error> {
        tls::check(&self.identity, &self.chain, &self.root, now)
    }
}
