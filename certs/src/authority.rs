//! The federation's authority: a root that is used once, and an issuing authority under it that signs leaves.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tributary_common::Digest;
use tributary_common::id::is_name;
use tributary_common::identity::{Identity, Role};

use crate::ledger::{Entry, Ledger};
use crate::serial::Serial;
use crate::{Credentials, Error, bundle, files, tls};

/// Certificates are valid from this long before their issue, because clocks differ.
pub const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// How long root and issuing authority are valid: ten years.
pub const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The files of an authority's folder.
const FILES: [&str; 4] = ["root.crt", "root.key", "issuing.crt", "issuing.key"];

/// The federation's authority, opened for issuing.
pub struct Authority {
    folder: PathBuf,
    federation: String,
    expires: SystemTime,
    roots: Vec<CertificateDer<'static>>,
    root_pem: String,
    issuing_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.federation)
    }
}

pub(crate) fn not_issued(error: impl std::fmt::Display) -> Error {
    Error::NotIssued(error.to_string())
}

/// The key in a file; a new one where there is none, and no certificate of one that is kept elsewhere.
fn key_in(file: &Path, certificate: &Path) -> Result<KeyPair, Error> {
    match files::read_key(file) {
        Ok(pem) => {
            KeyPair::from_pem(&pem).map_err(|error| Error::Broken { file: file.to_owned(), why: error.to_string() })
        }
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            files::refuse_existing(&[certificate])?;
            let key = KeyPair::generate_for(&PKCS_ED25519).map_err(not_issued)?;
            files::replace_private(file, &key.serialize_pem())?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

fn authority_params(
    name: &str,
    federation: &str,
    path_length: u8,
    now: SystemTime,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, federation);
    subject.push(DnType::CommonName, format!("{federation} {name}"));
    params.distinguished_name = subject;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + AUTHORITY_VALIDITY).into();
    params.serial_number = Some(Serial::random()?.to_rcgen());
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

impl Authority {
    /// Makes a new authority for `federation` in `folder`: `root.key`, `root.crt`, `issuing.key`, `issuing.crt`, in this
    /// order, each whole or not at all. What a process left that did not come to the end is gone on with: a key that is
    /// there is used, never replaced, and so is the root.
    ///
    /// # Errors
    /// The name is none, there is a whole authority, what is there does not belong together, or files cannot be written.
    pub fn create(folder: &Path, federation: &str, now: SystemTime) -> Result<Self, Error> {
        if !is_name(federation) {
            return Err(not_issued(format!("`{federation}` is no name for a federation")));
        }
        let [root_file, root_key_file, issuing_file, issuing_key_file] = FILES.map(|file| folder.join(file));
        files::create_folder(folder)?;
        let lock = files::lock(folder)?;
        files::refuse_existing(&[&issuing_file])?;
        let root_key = key_in(&root_key_file, &root_file)?;
        if !root_file.exists() {
            let root = authority_params("root", federation, 1, now)?.self_signed(&root_key).map_err(not_issued)?;
            files::replace_public(&root_file, &root.pem())?;
        }
        let root_pem = files::read(&root_file)?;
        let broken = |why: String| Error::Broken { file: root_file.clone(), why };
        let root = Said::parse(&root_pem).map_err(broken)?;
        if root.public_key != root_key.subject_public_key_info() {
            return Err(broken(format!("it is not the certificate of `{}`", root_key_file.display())));
        }
        if root.federation != federation {
            return Err(broken(format!("it is the root of the federation `{}`", root.federation)));
        }
        let root_issuer = Issuer::from_ca_cert_pem(&root_pem, root_key).map_err(|error| broken(error.to_string()))?;
        let issuing_key = key_in(&issuing_key_file, &issuing_file)?;
        let mut params = authority_params("issuing authority", federation, 0, now)?;
        params.not_after = (now + AUTHORITY_VALIDITY).min(root.expires).into();
        let issuing = params.signed_by(&issuing_key, &root_issuer).map_err(not_issued)?;
        // The last: with it the authority is whole.
        files::replace_public(&issuing_file, &issuing.pem())?;
        drop(lock);
        Self::open(folder)
    }

    /// Whether `folder` holds a whole authority.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        folder.join(FILES[2]).exists()
    }

    /// Opens the authority in `folder`; the root's key is not needed and may be kept elsewhere.
    ///
    /// # Errors
    /// Files are missing, readable by others, or no authority.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let [root_file, _, file, key_file] = FILES.map(|file| folder.join(file));
        let broken_key = |why: String| Error::Broken { file: key_file.clone(), why };
        let broken = |why: String| Error::Broken { file: file.clone(), why };
        let key = KeyPair::from_pem(&files::read_key(&key_file)?).map_err(|error| broken_key(error.to_string()))?;
        let issuing_pem = files::read(&file)?;
        let said = Said::parse(&issuing_pem).map_err(broken)?;
        // The library signs with any key that it is given; what comes out would be refused by every peer.
        if said.public_key != key.subject_public_key_info() {
            return Err(broken_key(format!("it is not the key of `{}`", file.display())));
        }
        let issuer = Issuer::from_ca_cert_pem(&issuing_pem, key).map_err(|error| broken(error.to_string()))?;
        let root_pem = files::read(&root_file)?;
        let roots = bundle::parse(&root_pem).map_err(|why| Error::Broken { file: root_file, why })?;
        let (folder, federation, expires) = (folder.to_owned(), said.federation, said.expires);
        Ok(Self { folder, federation, expires, roots, root_pem, issuing_pem, issuer })
    }

    /// The federation whose members it certifies.
    #[must_use]
    pub fn federation(&self) -> &str {
        &self.federation
    }

    /// The root certificates, which every member trusts, in PEM: one, or two while the federation changes its root.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The roots to trust from now on, as the folder holds them: a root that is added while a coordinator runs reaches its
    /// members with their renewals.
    pub(crate) fn bundle(&self) -> Result<String, Error> {
        let file = self.folder.join(FILES[0]);
        let pem = files::read(&file)?;
        let broken = |why: String| Error::Broken { file: file.clone(), why };
        let roots = bundle::parse(&pem).map_err(broken)?;
        if Digest::of(&roots[0]) != self.root() {
            return Err(broken("its first root is another one than before; start again to use it".to_owned()));
        }
        Ok(pem)
    }

    /// The fingerprint of its own root: BLAKE3 of the certificate. In a bundle of two the own root stands first.
    #[must_use]
    pub fn root(&self) -> Digest {
        Digest::of(&self.roots[0])
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn issuing_pem(&self) -> &str {
        &self.issuing_pem
    }

    pub(crate) const fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::new(&self.folder)
    }

    /// Issues a certificate with a fresh key, valid from a little before `now` until `validity` after it.
    ///
    /// # Errors
    /// The identity is of another federation, the certificate would outlive the authority, the authority's own files do
    /// not fit together, or its folder cannot be written.
    pub fn issue(&self, identity: &Identity, validity: Duration, now: SystemTime) -> Result<Credentials, Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(not_issued)?;
        let chain = self.sign(identity, validity, now, &key)?;
        Credentials::from_pem(&chain, &key.serialize_pem(), &self.root_pem)
    }

    /// Issues a certificate chain, in PEM, for the key of a signing request. Nothing but the public key is taken from
    /// it: names, usages and constraints that a device asks for are ignored.
    ///
    /// # Errors
    /// The request is none or its signature is wrong; else as [`Self::issue`].
    pub fn issue_for_csr(
        &self,
        request_pem: &str,
        identity: &Identity,
        validity: Duration,
        now: SystemTime,
    ) -> Result<String, Error> {
        self.sign(identity, validity, now, &Self::key_of_request(request_pem)?)
    }

    /// The public key of a signing request whose signature is by that key: the only thing that is taken from one.
    pub(crate) fn key_of_request(request_pem: &str) -> Result<impl PublicKeyData + use<>, Error> {
        Ok(CertificateSigningRequestParams::from_pem(request_pem).map_err(not_issued)?.public_key)
    }

    fn sign(
        &self,
        identity: &Identity,
        validity: Duration,
        now: SystemTime,
        key: &impl PublicKeyData,
    ) -> Result<String, Error> {
        let lock = files::lock(&self.folder)?;
        let chain = self.sign_locked(identity, validity, now, key);
        drop(lock);
        chain
    }

    /// The chain for a key: a new leaf and the issuing authority, judged once as a peer would judge it, and written into the
    /// ledger before it leaves. The caller holds the folder's lock.
    pub(crate) fn sign_locked(
        &self,
        identity: &Identity,
        validity: Duration,
        now: SystemTime,
        key: &impl PublicKeyData,
    ) -> Result<String, Error> {
        let serial = Serial::random()?;
        let mut params = self.leaf_params(identity, validity, now)?;
        params.serial_number = Some(serial.to_rcgen());
        let leaf = params.signed_by(key, &self.issuer).map_err(not_issued)?;
        let issuing = CertificateDer::from_pem_slice(self.issuing_pem.as_bytes()).map_err(not_issued)?;
        tls::check(identity, &[leaf.der().clone(), issuing], &self.roots, now)?;
        let entry = Entry { serial, expires: now + validity, identity: identity.clone() };
        self.ledger().append(&entry, now)?;
        Ok(format!("{}{}", leaf.pem(), self.issuing_pem))
    }

    fn leaf_params(
        &self,
        identity: &Identity,
        validity: Duration,
        now: SystemTime,
    ) -> Result<CertificateParams, Error> {
        if identity.federation != self.federation {
            return Err(not_issued(format!("`{identity}` is not of the federation `{}`", self.federation)));
        }
        let expires = now.checked_add(validity).filter(|end| *end <= self.expires);
        let expires = expires.ok_or_else(|| not_issued("it would outlive the authority; ask for fewer days"))?;
        let mut params = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, self.federation.as_str());
        subject.push(DnType::CommonName, identity.name.as_str());
        params.distinguished_name = subject;
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().map_err(not_issued)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match identity.role {
            Role::Coordinator => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client | Role::Evaluator => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.not_before = (now - BACKDATED).into();
        params.not_after = expires.into();
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

/// What the issuing authority's certificate says about itself.
struct Said {
    federation: String,
    expires: SystemTime,
    public_key: Vec<u8>,
}

impl Said {
    fn parse(pem: &str) -> Result<Self, String> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
        let certificate = pem.parse_x509().map_err(|error| error.to_string())?;
        // The organization is where an authority keeps its federation's name.
        let name = certificate.subject().iter_organization().next().and_then(|name| name.as_str().ok());
        let federation = name.filter(|name| is_name(name)).ok_or("it names no federation")?.to_owned();
        let expires = crate::expiry::of(&certificate).ok_or("its validity ends before 1970")?;
        Ok(Self { federation, expires, public_key: certificate.public_key().raw.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    fn identity(text: &str) -> Identity {
        format!("tributary://{text}").parse().unwrap()
    }

    fn create() -> (tempfile::TempDir, Authority) {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "north", now()).unwrap();
        (folder, authority)
    }

    #[test]
    fn each_authority_may_do_what_its_place_needs() {
        let (folder, authority) = create();
        for (file, path_length) in [("root.crt", 1), ("issuing.crt", 0)] {
            let der = CertificateDer::from_pem_file(folder.path().join(file)).unwrap();
            let (_, certificate) = X509Certificate::from_der(&der).unwrap();
            let constraints = certificate.basic_constraints().unwrap().unwrap().value;
            assert_eq!((constraints.ca, constraints.path_len_constraint), (true, Some(path_length)), "{file}");
            let usage = certificate.key_usage().unwrap().unwrap().value;
            assert!(usage.key_cert_sign() && !usage.digital_signature(), "{file}");
        }
        assert_eq!(authority.federation(), "north");
        assert_eq!(authority.root_pem(), fs::read_to_string(folder.path().join("root.crt")).unwrap());
    }

    /// A request that asks for everything that it must not get.
    fn greedy_request(key: &KeyPair) -> String {
        let mut wish = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        wish.distinguished_name.push(DnType::CommonName, "tributary://north/coordinator/hub");
        wish.subject_alt_names.push(SanType::URI("tributary://north/coordinator/hub".try_into().unwrap()));
        wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wish.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        wish.serialize_request(key).unwrap().pem().unwrap()
    }

    #[test]
    fn private_keys_are_for_their_owner_alone() {
        let (folder, authority) = create();
        let member = folder.path().join("identities/a");
        authority.issue(&identity("north/client/a"), DAY, now()).unwrap().save(&member).unwrap();
        for key in [folder.path().join("root.key"), folder.path().join("issuing.key"), member.join("key.pem")] {
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600, "{}", key.display());
        }
        assert_eq!(format!("{authority:?}"), "Authority(north)");
    }

    #[test]
    fn an_authority_is_never_overwritten_and_never_half_written() {
        let (folder, _) = create();
        assert!(matches!(Authority::create(folder.path(), "north", now()), Err(Error::Exists(_))));
        fs::remove_file(folder.path().join("root.key")).unwrap();
        let error = Authority::create(folder.path(), "north", now()).unwrap_err();
        assert!(error.hint().unwrap().contains("another folder"), "{error}");
        assert!(!folder.path().join("root.key").exists());
        // What was there still works: the root's key may be kept elsewhere.
        Authority::open(folder.path()).unwrap().issue(&identity("north/client/a"), DAY, now()).unwrap();
    }

    /// What goes wrong without it: a machine that loses power while it makes its authority never gets one.
    #[test]
    fn an_authority_that_was_half_made_is_finished_with_the_keys_that_are_there() {
        const ORDER: [&str; 3] = ["root.key", "root.crt", "issuing.key"];
        let (whole, _) = create();
        for n_files in 0..=ORDER.len() {
            let folder = tempfile::tempdir().unwrap();
            let there = &ORDER[..n_files];
            for file in there {
                fs::copy(whole.path().join(file), folder.path().join(file)).unwrap();
            }
            // What a power cut leaves of the next file is nobody's.
            fs::write(
                folder.path().join(["root.key.new", "root.crt.new", "issuing.key.new", "issuing.crt.new"][n_files]),
                "-----BE",
            )
            .unwrap();
            assert!(!Authority::is_in(folder.path()));
            let authority = Authority::create(folder.path(), "north", now() + DAY).unwrap();
            assert!(Authority::is_in(folder.path()));
            authority.issue(&identity("north/client/a"), DAY, now() + DAY).unwrap();
            for file in there {
                let [kept, before] = [folder.path(), whole.path()].map(|at| fs::read(at.join(file)).unwrap());
                assert_eq!(kept, before, "{file} of {n_files}");
            }
            // It lives no longer than its root.
            let root_made = if n_files > 1 { now() } else { now() + DAY };
            assert_eq!(authority.expires, root_made + AUTHORITY_VALIDITY);
        }
    }

    #[test]
    fn an_authority_is_not_finished_from_what_does_not_belong_together() {
        let ((whole, _), (other, _)) = (create(), create());
        let half = |files: &[(&tempfile::TempDir, &str)]| {
            let folder = tempfile::tempdir().unwrap();
            for (from, file) in files {
                fs::copy(from.path().join(file), folder.path().join(file)).unwrap();
            }
            folder
        };
        let made = |folder: &tempfile::TempDir, name: &str| {
            Authority::create(folder.path(), name, now()).unwrap_err().to_string()
        };
        // The root's key may be kept elsewhere: another one would make another federation.
        assert!(made(&half(&[(&whole, "root.crt")]), "north").contains("root.crt`: it exists already"));
        assert!(made(&half(&[(&whole, "root.crt"), (&other, "root.key")]), "north").contains("not the certificate of"));
        assert!(made(&half(&[(&whole, "root.crt"), (&whole, "root.key")]), "south").contains("federation `north`"));
    }

    #[test]
    fn a_leaf_says_one_thing_about_its_member() {
        let (_folder, authority) = create();
        for (who, server, client) in [
            ("north/coordinator/hub", true, false),
            ("north/client/a", false, true),
            ("north/evaluator/e", false, true),
        ] {
            let member = authority.issue(&identity(who), DAY, now()).unwrap();
            member.check(now()).unwrap();
            let (_, leaf) = X509Certificate::from_der(&member.chain()[0]).unwrap();
            let usage = leaf.extended_key_usage().unwrap().unwrap().value;
            assert_eq!((usage.server_auth, usage.client_auth, usage.any), (server, client, false), "{who}");
            assert_eq!(leaf.key_usage().unwrap().unwrap().value.flags, 1, "digital signature and nothing else");
            assert_eq!(leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
            assert!(!leaf.is_ca());
            assert_eq!(leaf.validity().not_before.timestamp(), 2_000_000_000 - 300);
            assert_eq!(member.expires(), now() + DAY);
        }
    }

    #[test]
    fn a_request_gives_its_key_and_nothing_else() {
        let (_folder, authority) = create();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let request = greedy_request(&key);
        let mut serials = BTreeSet::new();
        for _ in 0..4 {
            let chain = authority.issue_for_csr(&request, &identity("north/client/a"), DAY, now()).unwrap();
            let member = Credentials::from_pem(&chain, &key.serialize_pem(), authority.root_pem()).unwrap();
            assert_eq!(*member.identity(), identity("north/client/a"));
            let (_, leaf) = X509Certificate::from_der(&member.chain()[0]).unwrap();
            assert!(!leaf.is_ca());
            assert_eq!(leaf.key_usage().unwrap().unwrap().value.flags, 1);
            assert!(!leaf.extended_key_usage().unwrap().unwrap().value.server_auth);
            assert_eq!(leaf.subject().iter_common_name().next().unwrap().as_str().unwrap(), "a");
            assert!(serials.insert(leaf.raw_serial().to_vec()), "a serial number stands twice");
            assert_eq!(leaf.raw_serial().len(), 16);
        }
    }

    #[test]
    fn a_request_that_its_key_did_not_sign_is_refused() {
        // Else anybody could have somebody else's public key certified under their own name.
        let (_folder, authority) = create();
        let request = greedy_request(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
        let who = identity("north/client/a");
        let half = request.len() / 2;
        let letter = if &request[half..=half] == "A" { "B" } else { "A" };
        let changed = format!("{}{letter}{}", &request[..half], &request[half + 1..]);
        for bad in [changed.as_str(), &request[..half], "", "nonsense", authority.root_pem()] {
            assert!(authority.issue_for_csr(bad, &who, DAY, now()).is_err(), "{bad}");
        }
        authority.issue_for_csr(&request, &who, DAY, now()).unwrap();
    }

    #[track_caller]
    fn assert_not_issued(authority: &Authority, who: &str, validity: Duration, at: SystemTime, why: &str) {
        let error = authority.issue(&identity(who), validity, at).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn nothing_is_issued_that_a_peer_would_refuse() {
        let (_folder, authority) = create();
        let who = "north/client/a";
        assert_not_issued(&authority, "south/client/a", DAY, now(), "not of the federation `north`");
        assert_not_issued(&authority, who, AUTHORITY_VALIDITY + DAY, now(), "outlive the authority");
        assert_not_issued(&authority, who, Duration::MAX, now(), "outlive the authority");
        assert_not_issued(&authority, who, DAY, now() + AUTHORITY_VALIDITY, "outlive the authority");
        assert_not_issued(&authority, who, DAY, now() - DAY, "not valid yet");
        assert!(Authority::create(&std::env::temp_dir(), "../north", now()).is_err());
    }

    #[test]
    fn files_of_two_authorities_are_not_mixed() {
        let (folder, _) = create();
        let (other, _) = create();
        let swap = |file: &str| fs::copy(other.path().join(file), folder.path().join(file)).unwrap();
        swap("issuing.key");
        let error = Authority::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("it is not the key of"), "{error}");
        swap("issuing.crt");
        let mixed = Authority::open(folder.path()).unwrap();
        assert_not_issued(&mixed, "north/client/a", DAY, now(), "its authority is not trusted here");
        swap("root.crt");
        Authority::open(folder.path()).unwrap().issue(&identity("north/client/a"), DAY, now()).unwrap();
    }

    /// What goes wrong without it: a root that is added reaches nobody until the coordinator is started again.
    #[test]
    fn a_root_that_is_added_is_handed_out_and_another_in_the_first_place_is_not() {
        let ((folder, authority), (other, _)) = (create(), create());
        let file = folder.path().join("root.crt");
        let [own, new] = [&folder, &other].map(|at| fs::read_to_string(at.path().join("root.crt")).unwrap());
        assert_eq!(authority.bundle().unwrap(), own);
        fs::write(&file, format!("{own}{new}")).unwrap();
        assert_eq!(authority.bundle().unwrap(), format!("{own}{new}"));
        for bad in [format!("{new}{own}"), new.clone(), String::new(), "nonsense".to_owned()] {
            fs::write(&file, bad).unwrap();
            assert!(matches!(authority.bundle(), Err(Error::Broken { .. })));
        }
    }

    #[test]
    fn folders_that_hold_no_authority_are_refused() {
        let empty = tempfile::tempdir().unwrap();
        let error = Authority::open(empty.path()).unwrap_err();
        assert!(error.hint().unwrap().contains("tributary certs init"), "{error}");
        for (file, text) in [("issuing.key", "nonsense"), ("issuing.crt", "nonsense"), ("issuing.crt", "")] {
            let (folder, _) = create();
            fs::write(folder.path().join(file), text).unwrap();
            assert!(matches!(Authority::open(folder.path()), Err(Error::Broken { .. })), "{file}");
        }
    }
}
