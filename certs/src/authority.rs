//! The federation's authority: a root that is used once, and an issuing authority under it that signs leaves.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType,
};
use tributary_common::id::is_name;
use tributary_common::identity::{Identity, Role};

use crate::{Credentials, Error, files};

/// Certificates are valid from this long before their issue, because clocks differ.
pub const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// How long root and issuing authority are valid: ten years.
pub const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The federation's authority, opened for issuing.
pub struct Authority {
    federation: String,
    root_pem: String,
    issuing_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.federation)
    }
}

fn not_issued(error: impl std::fmt::Display) -> Error {
    Error::NotIssued(error.to_string())
}

fn authority_params(name: &str, federation: &str, path_length: u8, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, federation);
    subject.push(DnType::CommonName, format!("{federation} {name}"));
    params.distinguished_name = subject;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + AUTHORITY_VALIDITY).into();
    params.use_authority_key_identifier_extension = true;
    params
}

impl Authority {
    /// Makes a new authority for `federation` in `folder`: `root.crt`, `root.key`, `issuing.crt`, `issuing.key`.
    ///
    /// # Errors
    /// The name is none, or files exist or cannot be written.
    pub fn create(folder: &Path, federation: &str, now: SystemTime) -> Result<Self, Error> {
        if !is_name(federation) {
            return Err(not_issued(format!("`{federation}` is no name for a federation")));
        }
        files::create_folder(folder)?;
        let root_key = KeyPair::generate_for(&PKCS_ED25519).map_err(not_issued)?;
        let root_params = authority_params("root", federation, 1, now);
        let root = root_params.self_signed(&root_key).map_err(not_issued)?;
        let issuing_key = KeyPair::generate_for(&PKCS_ED25519).map_err(not_issued)?;
        let issuing_params = authority_params("issuing authority", federation, 0, now);
        let root_issuer = Issuer::from_params(&root_params, &root_key);
        let issuing = issuing_params.signed_by(&issuing_key, &root_issuer).map_err(not_issued)?;
        files::write_key(&folder.join("root.key"), &root_key.serialize_pem())?;
        files::write_certificate(&folder.join("root.crt"), &root.pem())?;
        files::write_key(&folder.join("issuing.key"), &issuing_key.serialize_pem())?;
        files::write_certificate(&folder.join("issuing.crt"), &issuing.pem())?;
        Self::open(folder)
    }

    /// Opens the authority in `folder`; the root's key is not needed and may be kept elsewhere.
    ///
    /// # Errors
    /// Files are missing, readable by others, or no authority.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let key_file = folder.join("issuing.key");
        let key = KeyPair::from_pem(&files::read_key(&key_file)?)
            .map_err(|error| Error::Broken { file: key_file, why: error.to_string() })?;
        let file = folder.join("issuing.crt");
        let issuing_pem = files::read(&file)?;
        let broken = |why: String| Error::Broken { file: file.clone(), why };
        let federation = organization(&issuing_pem).map_err(broken)?;
        let issuer = Issuer::from_ca_cert_pem(&issuing_pem, key).map_err(|error| broken(error.to_string()))?;
        Ok(Self { federation, root_pem: files::read(&folder.join("root.crt"))?, issuing_pem, issuer })
    }

    /// The federation whose members it certifies.
    #[must_use]
    pub fn federation(&self) -> &str {
        &self.federation
    }

    /// Issues a certificate with a fresh key.
    ///
    /// # Errors
    /// The name is none, or signing failed.
    pub fn issue(&self, role: Role, name: &str, validity: Duration, now: SystemTime) -> Result<Credentials, Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(not_issued)?;
        let certificate = self.sign(role, name, validity, now, &key)?;
        Credentials::from_pem(&format!("{certificate}{}", self.issuing_pem), &key.serialize_pem(), &self.root_pem)
    }

    /// Issues a certificate chain for the key of a signing request. Nothing but the public key is taken from it: names,
    /// usages and constraints that a device asks for are ignored.
    ///
    /// # Errors
    /// The request is none or its signature is wrong, or signing failed.
    pub fn issue_for_request(
        &self,
        request_pem: &str,
        role: Role,
        name: &str,
        validity: Duration,
        now: SystemTime,
    ) -> Result<String, Error> {
        let request = CertificateSigningRequestParams::from_pem(request_pem).map_err(not_issued)?;
        let certificate = self.sign(role, name, validity, now, &request.public_key)?;
        Ok(format!("{certificate}{}", self.issuing_pem))
    }

    fn sign(
        &self,
        role: Role,
        name: &str,
        validity: Duration,
        now: SystemTime,
        key: &impl PublicKeyData,
    ) -> Result<String, Error> {
        let identity = Identity { federation: self.federation.clone(), role, name: name.parse().map_err(not_issued)? };
        let mut params = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, self.federation.as_str());
        subject.push(DnType::CommonName, name);
        params.distinguished_name = subject;
        let uri = identity.to_string().try_into().map_err(not_issued)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match role {
            Role::Coordinator => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client | Role::Evaluator => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + validity).into();
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer).map_err(not_issued)?.pem())
    }
}

/// The organization in a certificate's subject: where an authority keeps its federation's name.
fn organization(pem: &str) -> Result<String, String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
    let certificate = pem.parse_x509().map_err(|error| error.to_string())?;
    let name = certificate.subject().iter_organization().next().and_then(|name| name.as_str().ok());
    name.filter(|name| is_name(name)).map(str::to_owned).ok_or_else(|| "it names no federation".to_owned())
}
