//! The device's side: a key that is made here and stays here, and a request for a certificate of it.

use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519};

use crate::authority::not_issued;
use crate::{Credentials, Error, files};

/// The file of a key whose certificate has not come yet, in the identity folder that it will be of.
const PENDING: &str = "joining.pem";

/// A key and the request for its certificate.
pub struct Request {
    key: String,
    pem: String,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request(…)")
    }
}

impl Request {
    /// A request for a fresh key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Self, Error> {
        Self::of(&KeyPair::generate_for(&PKCS_ED25519).map_err(not_issued)?)
    }

    /// The request that began to join in `folder`, or a new one whose key is on disk before anybody hears of it: a device
    /// that was switched off asks again with the same key and gets the same answer. The signature of an Ed25519 key is
    /// always the same, and so is the request.
    ///
    /// # Errors
    /// The folder cannot be written, or others can read the key.
    pub fn begin(folder: &Path) -> Result<Self, Error> {
        files::create_folder(folder)?;
        let path = folder.join(PENDING);
        if path.exists() {
            let key = KeyPair::from_pem(&files::read_key(&path)?);
            return Self::of(&key.map_err(|error| Error::Broken { file: path, why: error.to_string() })?);
        }
        let request = Self::new()?;
        files::replace_private(&path, &request.key)?;
        Ok(request)
    }

    fn of(key: &KeyPair) -> Result<Self, Error> {
        // No name is asked for: who this is stands in the invitation.
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let pem = params.serialize_request(key).and_then(|request| request.pem()).map_err(not_issued)?;
        Ok(Self { key: key.serialize_pem(), pem })
    }

    /// What is sent.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The credentials that the answer makes of the key.
    ///
    /// # Errors
    /// The certificate is of another key, or none.
    pub fn granted(&self, chain: &str, roots: &str) -> Result<Credentials, Error> {
        Credentials::from_pem(chain, &self.key, roots)
    }

    /// Forgets what [`Self::begin`] kept, once the credentials are in place.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn end(folder: &Path) -> Result<(), Error> {
        files::remove_if_there(&folder.join(PENDING))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_device_that_was_switched_off_asks_again_with_the_same_words() {
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join("identity");
        let first = Request::begin(&identity).unwrap();
        assert_eq!(Request::begin(&identity).unwrap().pem(), first.pem());
        let mode = fs::metadata(identity.join(PENDING)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(first.pem().len() < super::super::REQUEST_BYTES_MAX / 8, "{}", first.pem().len());
        Request::end(&identity).unwrap();
        assert_ne!(Request::begin(&identity).unwrap().pem(), first.pem());
        assert!(!format!("{first:?}").contains("KEY"));
    }
}
