//! Who is let in: chain, validity and usage by webpki, then role and federation by our one function.

use std::sync::Arc;
use std::{fmt, slice};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tributary_common::identity::Role;

use crate::{Error, Revocations, Serial, peer};

/// Why a certificate of a trusted authority is not let in.
///
/// The TLS library prints the inner error with [`fmt::Debug`], and QUIC carries that text to the other side: both read
/// the same sentence.
struct Denied(String);

impl fmt::Debug for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Denied {}

pub(super) fn denied(why: String) -> TlsError {
    TlsError::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Denied(why)))))
}

/// Role and federation. The alert is `certificate_unknown`: `access_denied` has no room for the reason.
fn check(certificate: &CertificateDer<'_>, federation: &str, roles: &[Role]) -> Result<(), TlsError> {
    let identity = peer::identity(slice::from_ref(certificate)).map_err(|error| denied(error.to_string()))?;
    if identity.federation != federation {
        return Err(denied(format!("`{identity}` is not of the federation `{federation}`")));
    }
    if !roles.contains(&identity.role) {
        let wanted = roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
        return Err(denied(format!("`{identity}` is no {wanted}")));
    }
    Ok(())
}

/// An authority made again under the same name fails by its signature. To people that is an unknown authority, and the
/// alert for bad signatures is left to mean a wrong private key.
fn chain_error(error: TlsError) -> TlsError {
    match error {
        TlsError::InvalidCertificate(CertificateError::BadSignature) => CertificateError::UnknownIssuer.into(),
        other => other,
    }
}

/// Lets clients and evaluators of one federation in whose certificates nobody took back.
#[derive(Debug)]
pub(super) struct MemberVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    federation: String,
    revocations: Arc<Revocations>,
}

impl MemberVerifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        federation: String,
        revocations: Arc<Revocations>,
    ) -> Result<Self, Error> {
        let chain = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| Error::Tls(error.to_string()))?;
        Ok(Self { chain, federation, revocations })
    }

    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        self.chain.verify_client_cert(leaf, above, now).map_err(chain_error)?;
        check(leaf, &self.federation, &[Role::Client, Role::Evaluator])?;
        // Asked of every handshake anew, so that a list that has come since counts.
        let serial = Serial::of(leaf).map_err(|error| denied(error.to_string()))?;
        if self.revocations.holds(&serial) { Err(CertificateError::Revoked.into()) } else { Ok(()) }
    }
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: a stranger learns nothing about who is trusted here.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.verify(leaf, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Accepts the coordinator of one federation.
#[derive(Debug)]
pub(super) struct CoordinatorVerifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    federation: String,
}

impl CoordinatorVerifier {
    pub(super) const fn new(roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>, federation: String) -> Self {
        Self { roots, provider, federation }
    }

    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, above, now, algorithms).map_err(chain_error)?;
        check(leaf, &self.federation, &[Role::Coordinator])
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.verify(leaf, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
