//! How a device becomes a member: a token in, an identity folder out. The private key is made here and stays here.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tributary_certs::enrolment::{Request, Token};
use tributary_certs::{Credentials, tls};
use tributary_common::Digest;
use tributary_common::identity::Role;
use tributary_common::message::{Join, Joined};
use tributary_common::net;

/// Joining may take this long in all.
const LONGEST: Duration = Duration::from_secs(20);

/// The file of an identity folder that says where its coordinator is. Whoever has it has joined, and renews by itself.
const COORDINATOR: &str = "coordinator";

/// The longest address that is read from it, in bytes.
const ADDRESS_BYTES_MAX: usize = 512;

/// Why a device did not become a member.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Keys or certificates are not what they should be.
    #[error(transparent)]
    Certificates(#[from] tributary_certs::Error),
    /// The identity folder cannot be used.
    #[error("could not write `{file}`: {source}")]
    Folder {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The other side said no, or is not the one that the token names.
    #[error("could not join: {0}")]
    Refused(String),
    /// Nobody answered.
    #[error("could not reach {address} to join: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// What to do, where the problem suggests it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Certificates(error) => error.hint(),
            Self::Folder { .. } => Some("give a folder that can be written with `--identity`".to_owned()),
            Self::Refused(_) => Some("make a new token with `tributary certs invite`".to_owned()),
            Self::Unreachable { .. } => Some(
                "check that the coordinator runs with an authority, and that UDP gets through to this port".to_owned(),
            ),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates are compared with the machine's clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The credentials in `folder`: those that are there and valid, or new ones for the token. A device may be started with its
/// token again and again.
///
/// # Errors
/// See [`Error`].
pub async fn member(token: &Token, folder: &Path) -> Result<Credentials, Error> {
    if folder.join("chain.pem").exists() {
        let held = Credentials::load(folder)?;
        if held.check(now()).is_ok() {
            return Ok(held);
        }
    }
    let request = Request::begin(folder)?;
    let asking = ask(token, &request);
    let unreachable = |reason: String| Error::Unreachable { address: token.address.clone(), reason };
    let (joined, host) = tokio::time::timeout(LONGEST, asking)
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", LONGEST.as_secs())))??;
    let (certificate, port) = match joined {
        Joined::Granted { certificate, port } => (certificate, port),
        Joined::Refused { reason } => return Err(Error::Refused(reason)),
    };
    let credentials = request.granted(&certificate.chain, &certificate.roots)?;
    if credentials.identity().role == Role::Coordinator {
        return Err(Error::Refused("the certificate that came is a coordinator's".to_owned()));
    }
    if !credentials.roots().iter().any(|root| Digest::of(root) == token.root) {
        return Err(Error::Refused("the root of the token is not among those to trust".to_owned()));
    }
    credentials.check(now())?;
    // The address first: an identity without it would not renew itself.
    keep_address(folder, &format!("{host}:{port}"))?;
    credentials.replace(folder)?;
    Request::end(folder)?;
    Ok(credentials)
}

/// Where the coordinator of an identity that has joined is.
#[must_use]
pub fn coordinator_of(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(COORDINATOR)).ok()?;
    let address = text.trim();
    (!address.is_empty() && address.len() <= ADDRESS_BYTES_MAX).then(|| address.to_owned())
}

fn keep_address(folder: &Path, address: &str) -> Result<(), Error> {
    let file = folder.join(COORDINATOR);
    let beside = file.with_extension("new");
    std::fs::write(&beside, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&beside, &file))
        .map_err(|source| Error::Folder { file: file.display().to_string(), source })
}

/// Asks for a certificate; the answer, and the host that gave it as the token names it.
async fn ask(token: &Token, request: &Request) -> Result<(Joined, String), Error> {
    let unreachable = |reason: String| Error::Unreachable { address: token.address.clone(), reason };
    let mut addresses = tokio::net::lookup_host(&token.address)
        .await
        .map_err(|error| unreachable(format!("name not found: {error}")))?;
    let address: SocketAddr = addresses.next().ok_or_else(|| unreachable("the name has no address".to_owned()))?;
    let tls = tls::join_client_config(token.root)?;
    let endpoint = net::client_endpoint(address, tls, net::stranger_transport())
        .map_err(|error| unreachable(error.to_string()))?;
    let connecting = endpoint.connect(address, "coordinator").map_err(|error| unreachable(error.to_string()))?;
    let connection = connecting.await.map_err(|error| match &error {
        quinn::ConnectionError::TransportError(inner) => tls::refusal(u64::from(inner.code), &inner.reason)
            .map_or_else(|| unreachable(error.to_string()), Error::Refused),
        _ => unreachable(error.to_string()),
    })?;
    let talk = async {
        let (mut send, mut recv) = connection.open_bi().await?;
        let join = Join { secret: token.secret.to_bytes(), request: request.pem().to_owned() };
        net::write_message(&mut send, &join).await?;
        drop(send.finish());
        net::read_message::<Joined>(&mut recv).await
    };
    let joined = talk.await.map_err(|error| unreachable(error.to_string()))?;
    connection.close(net::close_code::DONE, b"");
    endpoint.wait_idle().await;
    let (host, _) = token.address.rsplit_once(':').expect("a token's address has a port");
    Ok((joined, host.to_owned()))
}
