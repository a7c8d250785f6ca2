//! TLS for those who are not members yet: only the coordinator shows a certificate, and its root comes along, so that the
//! other side can compare it with the fingerprint in its token.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tributary_common::Digest;

use super::verify::{CoordinatorVerifier, denied};
use super::{provider, tls};
use crate::{Credentials, Error, peer};

/// The application protocol of enrolment.
pub const JOIN_ALPN: &[u8] = b"tributary-join/1";

/// The coordinator's side: anybody may ask, nobody is believed before the token is.
///
/// # Errors
/// The credentials are not consistent.
pub fn join_server_config(credentials: &Credentials) -> Result<ServerConfig, Error> {
    let chain = credentials.chain().iter().chain(credentials.roots()).cloned().collect();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .with_no_client_auth()
        .with_single_cert(chain, credentials.key())
        .map_err(tls)?;
    config.alpn_protocols = vec![JOIN_ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The device's side: only a coordinator under the root with this fingerprint.
///
/// # Errors
/// The TLS library refuses.
pub fn join_client_config(root: Digest) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        // Stricter than the library's own, as in `client_config`: one root, one role.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedVerifier { root }))
        .with_no_client_auth();
    config.alpn_protocols = vec![JOIN_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// Accepts a coordinator whose chain ends in the root that the token names.
#[derive(Debug)]
struct PinnedVerifier {
    root: Digest,
}

impl PinnedVerifier {
    fn verify(&self, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>], now: UnixTime) -> Result<(), TlsError> {
        let root = above.iter().find(|certificate| Digest::of(certificate) == self.root).ok_or_else(|| {
            denied(format!("no root with the fingerprint {} of the token stands above it", self.root.short()))
        })?;
        // The token names no federation: the root does, by what it has certified.
        let identity = peer::identity(std::slice::from_ref(leaf)).map_err(|error| denied(error.to_string()))?;
        let roots = super::roots(&[root.clone().into_owned()]).map_err(|error| denied(error.to_string()))?;
        CoordinatorVerifier::new(roots, provider(), identity.federation).verify(leaf, above, now)
    }
}

impl ServerCertVerifier for PinnedVerifier {
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
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
