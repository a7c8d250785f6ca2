//! TLS configurations: TLS 1.3 only, both sides authenticated, hybrid key exchange preferred, no 0-RTT, no tickets, no
//! resumption, one application protocol.

mod join;
mod refusal;
mod verify;

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tributary_common::identity::{Identity, Role};

pub use join::{JOIN_ALPN, join_client_config, join_server_config};
pub use refusal::{AGAIN, refusal};

use crate::{Credentials, Error, Revocations};
use verify::{CoordinatorVerifier, MemberVerifier};

/// The application protocol: name and version of what is spoken.
pub const ALPN: &[u8] = b"tributary/1";

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn tls(error: impl std::fmt::Display) -> Error {
    Error::Tls(error.to_string())
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    provider().secure_random.fill(bytes).map_err(|_| Error::NotIssued("the system gave no random bytes".to_owned()))
}

/// 256 random bits from the system.
///
/// # Errors
/// The system has none.
pub fn random_key() -> Result<[u8; 32], Error> {
    let mut key = [0; 32];
    fill_random(&mut key)?;
    Ok(key)
}

pub(crate) fn roots(trusted: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    trusted.iter().try_for_each(|root| roots.add(root.clone())).map_err(tls)?;
    Ok(Arc::new(roots))
}

/// A key that belongs to the first certificate of its chain.
pub(crate) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, &provider())
}

/// Judges a chain (leaf first) as the other side of a connection would at `now`.
pub(crate) fn check(
    identity: &Identity,
    chain: &[CertificateDer<'static>],
    trusted: &[CertificateDer<'static>],
    now: SystemTime,
) -> Result<(), Error> {
    let (leaf, above) = chain.split_first().ok_or_else(|| tls("there is no certificate"))?;
    let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).map_err(tls)?);
    let federation = identity.federation.clone();
    let verdict = match identity.role {
        Role::Coordinator => CoordinatorVerifier::new(roots(trusted)?, provider(), federation).verify(leaf, above, now),
        Role::Client | Role::Evaluator => {
            MemberVerifier::new(roots(trusted)?, provider(), federation, Arc::default())?.verify(leaf, above, now)
        }
    };
    verdict.map_err(|error| {
        let reason = error.to_string();
        let alert = match error {
            rustls::Error::InvalidCertificate(error) => AlertDescription::from(error),
            _ => AlertDescription::CertificateUnknown,
        };
        let (why, hint) = refusal::explain(u8::from(alert).into(), &reason).unwrap_or((reason, refusal::ISSUE));
        Error::Refused { identity: identity.clone(), why, hint }
    })
}

/// The coordinator's side: clients and evaluators of its own federation come in, but for those whose certificates
/// `revocations` holds at that moment.
///
/// # Errors
/// The credentials are not consistent.
pub fn server_config(credentials: &Credentials, revocations: Arc<Revocations>) -> Result<ServerConfig, Error> {
    let federation = credentials.identity().federation.clone();
    let verifier = MemberVerifier::new(roots(credentials.roots())?, provider(), federation, revocations)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(credentials.chain().to_vec(), credentials.key())
        .map_err(tls)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The client's side: only the coordinator of its own federation, whatever address it answers from.
///
/// # Errors
/// The credentials are not consistent.
pub fn client_config(credentials: &Credentials) -> Result<ClientConfig, Error> {
    let federation = credentials.identity().federation.clone();
    let verifier = CoordinatorVerifier::new(roots(credentials.roots())?, provider(), federation);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        // "Dangerous" is the library's word for any own verifier; this one is stricter than the default, which knows no
        // roles and no federations.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(credentials.chain().to_vec(), credentials.key())
        .map_err(tls)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // The coordinator is known by its certificate; whoever listens on the way need not learn a name.
    config.enable_sni = false;
    Ok(config)
}

#[cfg(test)]
use refusal::CRYPTO_ERROR;
#[cfg(test)]
mod tests;
