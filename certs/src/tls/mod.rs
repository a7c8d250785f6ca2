//! TLS configurations: TLS 1.3 only, both sides authenticated, hybrid key exchange preferred, no 0-RTT, no tickets, no
//! resumption, one application protocol.

mod refusal;
mod verify;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub use refusal::refusal;

use crate::{Credentials, Error};
use verify::{CoordinatorVerifier, MemberVerifier};

/// The application protocol: name and version of what is spoken.
pub const ALPN: &[u8] = b"tributary/1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn tls(error: impl std::fmt::Display) -> Error {
    Error::Tls(error.to_string())
}

fn roots(credentials: &Credentials) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(credentials.root().clone()).map_err(tls)?;
    Ok(Arc::new(roots))
}

/// The coordinator's side: clients and evaluators of its own federation come in.
///
/// # Errors
/// The credentials are not consistent.
pub fn server_config(credentials: &Credentials) -> Result<ServerConfig, Error> {
    let federation = credentials.identity().federation.clone();
    let verifier = MemberVerifier::new(roots(credentials)?, provider(), federation)?;
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
    let verifier = CoordinatorVerifier::new(roots(credentials)?, provider(), federation);
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
    Ok(config)
}

#[cfg(test)]
mod tests;
