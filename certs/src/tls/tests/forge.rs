//! An authority whose certificates are made wrong on purpose.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tributary_common::identity::Role;

use super::{DAY, now};
use crate::Credentials;
use crate::tls::provider;

pub(super) fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

pub(super) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(super) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn authority(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = (now() - DAY).into();
    params.not_after = (now() + DAY).into();
    params
}

/// Parameters of a leaf with nothing wrong.
pub(super) fn good_leaf(role: Role) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(&format!("tributary://north/{role}/a"))];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match role {
        Role::Coordinator => ExtendedKeyUsagePurpose::ServerAuth,
        Role::Client | Role::Evaluator => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.not_before = (now() - DAY).into();
    params.not_after = (now() + DAY).into();
    params
}

/// What somebody shows in a handshake.
pub(super) struct Shown {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: KeyPair,
}

impl Shown {
    pub(super) fn certified_key(self) -> Arc<CertifiedKey> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        // Not checked to fit: strangers do not check either.
        Arc::new(CertifiedKey::new(self.chain, provider().key_provider.load_private_key(key).unwrap()))
    }
}

pub(super) struct Forge {
    root: Certificate,
    /// The certificates between leaf and root.
    above: Vec<Certificate>,
    params: CertificateParams,
    key: KeyPair,
}

impl Forge {
    /// A root of its own.
    pub(super) fn root(federation: &str) -> Self {
        let key = key();
        let params = authority(&format!("{federation} root"), 1);
        let root = params.self_signed(&key).unwrap();
        Self { root, above: Vec::new(), params, key }
    }

    /// An issuing authority under a root of its own, with the names that every such federation has.
    pub(super) fn new(federation: &str) -> Self {
        Self::root(federation).below("issuing authority", |_| {})
    }

    /// An authority that this one certified, with something spoilt.
    pub(super) fn below(&self, name: &str, spoil: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = key();
        let mut params = authority(name, 0);
        spoil(&mut params);
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        let above = std::iter::once(certificate).chain(self.above.iter().cloned()).collect();
        Self { root: self.root.clone(), above, params, key }
    }

    /// The same authority after somebody put another private key into its folder.
    pub(super) fn with_swapped_key(mut self) -> Self {
        self.key = key();
        self
    }

    fn sign(&self, params: &CertificateParams) -> (Vec<Certificate>, KeyPair) {
        let key = key();
        let leaf = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        (std::iter::once(leaf).chain(self.above.iter().cloned()).collect(), key)
    }

    pub(super) fn leaf(&self, params: &CertificateParams) -> Shown {
        let (chain, key) = self.sign(params);
        Shown { chain: chain.iter().map(|certificate| certificate.der().clone()).collect(), key }
    }

    /// The authority itself as a peer.
    pub(super) fn itself(self) -> Shown {
        Shown { chain: self.above.iter().map(|certificate| certificate.der().clone()).collect(), key: self.key }
    }

    pub(super) fn member(&self, role: Role) -> Credentials {
        let (chain, key) = self.sign(&good_leaf(role));
        let chain: String = chain.iter().map(Certificate::pem).collect();
        Credentials::from_pem(&chain, &key.serialize_pem(), &self.root.pem()).unwrap()
    }
}
