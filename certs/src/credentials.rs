//! What one member has: a certificate chain, its private key and the roots that it trusts.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};
use std::{fmt, fs};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tributary_common::identity::Identity;

use crate::authority::BACKDATED;
use crate::{EndpointSecret, Error, bundle, expiry, files, peer, tls};

/// The certificates in an identity folder.
pub(crate) const CHAIN: &str = "chain.pem";

/// The files of an identity folder.
const FILES: [&str; 3] = [CHAIN, "key.pem", "root.pem"];

/// Credentials that wait to take the place of those in the folder, all there.
const NEXT: &str = "next";

/// The same, before all are there.
const NEXT_HALF: &str = "next.new";

/// A member's certificate, key and roots. [`fmt::Debug`] shows the identity only.
pub struct Credentials {
    identity: Identity,
    begins: SystemTime,
    expires: SystemTime,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Vec<CertificateDer<'static>>,
    pem: [String; 3],
    /// What the identity folder holds of it.
    endpoint: Option<EndpointSecret>,
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
            begins: self.begins,
            expires: self.expires,
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            roots: self.roots.clone(),
            pem: self.pem.clone(),
            endpoint: self.endpoint,
        }
    }
}

impl Credentials {
    /// Credentials from PEM texts: chain (leaf first), key, one root or two.
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
        let roots = bundle::parse(root).map_err(|why| broken(FILES[2], why))?;
        // In this order, so that each file is blamed for its own mistakes only.
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).map_err(|error| broken(FILES[0], error.to_string()))?;
        let expires =
            expiry::of(&parsed).ok_or_else(|| broken(FILES[0], "its validity ends before 1970".to_owned()))?;
        let begins =
            expiry::begin(&parsed).ok_or_else(|| broken(FILES[0], "its validity begins before 1970".to_owned()))?;
        let identity = peer::identity(&certificates).map_err(|error| broken(FILES[0], error.to_string()))?;
        tls::certified_key(certificates.clone(), private.clone_key())
            .map_err(|error| broken(FILES[1], format!("it does not fit `{}`: {error}", FILES[0])))?;
        Ok(Self {
            identity,
            begins,
            expires,
            chain: certificates,
            key: private,
            roots,
            pem: [chain.to_owned(), key.to_owned(), root.to_owned()],
            endpoint: None,
        })
    }

    /// Reads an identity folder: `chain.pem`, `key.pem`, `root.pem`.
    ///
    /// # Errors
    /// Files are missing, broken, or the key is readable by others.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        finish_replacing(folder)?;
        let [chain, key, root] = FILES.map(|file| folder.join(file));
        let credentials = Self::from_pem(&files::read(&chain)?, &files::read_key(&key)?, &files::read(&root)?);
        let mut credentials = credentials.map_err(|error| match error {
            Error::Broken { file, why } => Error::Broken { file: folder.join(file), why },
            other => other,
        })?;
        credentials.endpoint = EndpointSecret::of(folder)?;
        Ok(credentials)
    }

    /// The secret by which a coordinator of this identity is recognised after a restart: that of its folder, or else one
    /// that follows from its key.
    #[must_use]
    pub fn endpoint_secret(&self) -> EndpointSecret {
        self.endpoint.unwrap_or_else(|| EndpointSecret::derive(self.key.secret_der()))
    }

    /// Writes [`Credentials::endpoint_secret`] into the identity folder, if none is there, so that it outlives the key that
    /// it follows from.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep_endpoint_secret(&self, folder: &Path) -> Result<(), Error> {
        if EndpointSecret::of(folder)?.is_some() { Ok(()) } else { self.endpoint_secret().keep(folder) }
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

    /// Puts these credentials in the place of what an identity folder holds, if anything. However this ends, the folder
    /// holds the old ones or the new ones, never a key beside the certificate of another.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn replace(&self, folder: &Path) -> Result<(), Error> {
        files::create_folder(folder)?;
        finish_replacing(folder)?;
        let (half, whole) = (folder.join(NEXT_HALF), folder.join(NEXT));
        let io = |source| Error::Io { file: half.clone(), source };
        match fs::remove_dir_all(&half) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
            Ok(()) | Err(_) => {}
        }
        self.save(&half)?;
        files::sync_folder_of(&half.join(FILES[0]))?;
        fs::rename(&half, &whole).map_err(io)?;
        files::sync_folder_of(&whole)?;
        finish_replacing(folder)
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

    /// The certificates that are sent, in PEM.
    #[must_use]
    pub fn chain_pem(&self) -> &str {
        &self.pem[0]
    }

    #[cfg(test)]
    pub(crate) fn key_pem(&self) -> &str {
        &self.pem[1]
    }

    /// The roots that are trusted: one, or two while the federation changes its root.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// When the certificate ends.
    #[must_use]
    pub const fn expires(&self) -> SystemTime {
        self.expires
    }

    /// When a new certificate should be asked for: at half of the time from the issue to the end.
    #[must_use]
    pub fn renew_at(&self) -> SystemTime {
        self.begins + BACKDATED + self.validity() / 2
    }

    /// How long the certificate was made to be valid, from its issue to its end.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.expires.duration_since(self.begins + BACKDATED).unwrap_or_default()
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
        tls::check(&self.identity, &self.chain, &self.roots, now)
    }
}

/// Moves the credentials that wait to take the place of the others, if there are any. Where a crash interrupted that, the
/// next one who reads the folder goes on.
fn finish_replacing(folder: &Path) -> Result<(), Error> {
    let next = folder.join(NEXT);
    if !next.exists() {
        return Ok(());
    }
    let done = |file: &Path, result: std::io::Result<()>| match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::Io { file: file.to_owned(), source: error }),
        Ok(()) | Err(_) => Ok(()),
    };
    for name in FILES {
        let file = next.join(name);
        done(&file, fs::rename(&file, folder.join(name)))?;
    }
    files::sync_folder_of(&next)?;
    done(&next, fs::remove_dir(&next))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::Authority;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    /// A saved identity, beside its authority.
    fn saved() -> (tempfile::TempDir, std::path::PathBuf, Credentials) {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "north", now()).unwrap();
        let member = authority.issue(&"tributary://north/client/a".parse().unwrap(), DAY, now()).unwrap();
        let path = folder.path().join("identities/a");
        member.save(&path).unwrap();
        (folder, path, member)
    }

    /// What goes wrong without it: after a renewal nobody recognises the coordinator that restarts, and all clients sit in
    /// front of it until their idle timeout.
    #[test]
    fn the_endpoints_secret_survives_the_key_that_it_followed_from() {
        let (folder, path, member) = saved();
        let secret = member.endpoint_secret();
        assert_eq!(Credentials::load(&path).unwrap().endpoint_secret(), secret, "as it was before it had a file");
        member.keep_endpoint_secret(&path).unwrap();
        let file = path.join("endpoint.key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let authority = Authority::open(folder.path()).unwrap();
        let renewed = authority.issue(member.identity(), DAY, now()).unwrap();
        assert_ne!(renewed.endpoint_secret(), secret);
        renewed.replace(&path).unwrap();
        let loaded = Credentials::load(&path).unwrap();
        assert_eq!((loaded.key(), loaded.endpoint_secret()), (renewed.key(), secret));
        renewed.keep_endpoint_secret(&path).unwrap();
        assert_eq!(Credentials::load(&path).unwrap().endpoint_secret(), secret, "made once");
        assert_eq!(format!("{secret:?}"), "EndpointSecret");
        // Who can read it can end every connection.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Credentials::load(&path), Err(Error::KeyIsReadable { .. })));
        fs::remove_file(&file).unwrap();
        for spoilt in ["", "00", "nonsense"] {
            files::replace_private(&file, spoilt).unwrap();
            assert!(matches!(Credentials::load(&path), Err(Error::Broken { .. })), "{spoilt}");
        }
    }

    #[test]
    fn credentials_survive_their_folder_and_show_no_key() {
        let (_folder, path, member) = saved();
        let loaded = Credentials::load(&path).unwrap();
        assert_eq!(loaded.identity(), member.identity());
        assert_eq!(loaded.chain(), member.chain());
        assert_eq!(loaded.roots(), member.roots());
        assert_eq!(loaded.key(), member.key());
        assert_eq!(
            format!("{loaded:?} {:?}", loaded.clone()),
            ["Credentials(tributary://north/client/a)"; 2].join(" ")
        );
        // Neither over an identity nor beside a part of one.
        assert!(matches!(member.save(&path), Err(Error::Exists(_))));
        fs::remove_file(path.join("key.pem")).unwrap();
        assert!(matches!(member.save(&path), Err(Error::Exists(_))));
        assert!(!path.join("key.pem").exists());
    }

    #[test]
    fn the_end_is_told_before_a_peer_tells() {
        let (_folder, _, member) = saved();
        assert_eq!(member.expires(), now() + DAY);
        assert_eq!(member.valid_for(now()), Some(DAY));
        assert_eq!(member.valid_for(now() + 2 * DAY), None);
        member.check(now()).unwrap();
        let error = member.check(now() + 2 * DAY).unwrap_err();
        assert!(error.to_string().contains("it has expired"), "{error}");
        assert!(error.hint().unwrap().contains("tributary certs issue"));
        assert!(member.check(now() - DAY).unwrap_err().to_string().contains("not valid yet"));
        assert!(member.check(SystemTime::UNIX_EPOCH - DAY).is_err());
    }

    #[test]
    fn folders_that_do_not_fit_together_are_refused() {
        let (_folder, path, _) = saved();
        let (_other_folder, other, _) = saved();
        fs::copy(other.join("key.pem"), path.join("key.pem")).unwrap();
        let error = Credentials::load(&path).unwrap_err();
        assert!(error.to_string().contains("key.pem") && error.to_string().contains("does not fit"), "{error}");
        fs::copy(other.join("chain.pem"), path.join("chain.pem")).unwrap();
        let mixed = Credentials::load(&path).unwrap();
        assert!(
            mixed.check(now()).unwrap_err().to_string().contains("not trusted"),
            "the root is of another authority"
        );
    }

    /// What goes wrong without it: a power cut during a renewal leaves a key beside the certificate of another, and the
    /// device is locked out.
    #[test]
    fn credentials_are_replaced_whole_wherever_it_stops() {
        let (folder, path, old) = saved();
        let authority = Authority::open(folder.path()).unwrap();
        let new = authority.issue(old.identity(), DAY, now()).unwrap();
        new.replace(&path).unwrap();
        assert_eq!(Credentials::load(&path).unwrap().chain(), new.chain());

        // Stopped before everything was there: the old ones.
        old.save(&path.join(NEXT_HALF)).unwrap();
        fs::remove_file(path.join(NEXT_HALF).join("key.pem")).unwrap();
        assert_eq!(Credentials::load(&path).unwrap().chain(), new.chain());
        old.replace(&path).unwrap();
        // Stopped after so many files were moved: the new ones.
        for moved in 0..=FILES.len() {
            old.replace(&path).unwrap();
            new.save(&path.join(NEXT)).unwrap();
            for file in &FILES[..moved] {
                fs::rename(path.join(NEXT).join(file), path.join(file)).unwrap();
            }
            let loaded = Credentials::load(&path).unwrap();
            assert_eq!((loaded.chain(), loaded.key()), (new.chain(), new.key()), "{moved} moved");
            assert!(!path.join(NEXT).exists());
        }
        assert_eq!(fs::metadata(path.join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn broken_folders_are_named_with_their_file() {
        for file in FILES {
            for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
                let (_folder, path, _) = saved();
                fs::write(path.join(file), text).unwrap();
                let error = Credentials::load(&path).unwrap_err();
                assert!(error.to_string().contains(&path.join(file).display().to_string()), "{file}: {error}");
            }
            let (_folder, path, _) = saved();
            fs::remove_file(path.join(file)).unwrap();
            assert!(Credentials::load(&path).unwrap_err().hint().unwrap().contains("tributary certs issue"));
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let (_folder, path, _) = saved();
        for mode in [0o604, 0o640, 0o644, 0o620, 0o601] {
            fs::set_permissions(path.join("key.pem"), fs::Permissions::from_mode(mode)).unwrap();
            let error = Credentials::load(&path).unwrap_err();
            assert!(error.hint().unwrap().starts_with("run `chmod 600"), "{mode:o}: {error}");
        }
    }
}
