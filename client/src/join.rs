//! How a device becomes a member: a token in, an identity folder out. The private key is made here and stays here.

use std::fs::{self, File};
use std::io::Write;
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

/// How long a device waits, on average, before it asks again where there was no room for it.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it asks again before it says so; within [`LONGEST`].
const TRIES_MAX: u32 = 12;

/// The file of an identity folder that says where its coordinator is. Whoever has it has joined, and renews by itself.
const COORDINATOR: &str = "coordinator";

/// The longest address that is read from it, in bytes.
const ADDRESS_BYTES_MAX: usize = 512;

/// Why a device did not become a member.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too many devices join at the moment.
    #[error("could not join at {address}: it has no room for another device at the moment")]
    Busy {
        /// Where.
        address: String,
    },
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
            Self::Busy { .. } => Some("try again in a minute".to_owned()),
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
    let asking = ask_patiently(token, &request);
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

/// Whether an identity has joined by a token, and so renews itself, also where it is not known any more where its
/// coordinator is.
#[must_use]
pub fn has_joined(folder: &Path) -> bool {
    folder.join(COORDINATOR).exists()
}

/// Where the coordinator of an identity that has joined is.
#[must_use]
pub fn coordinator_of(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join(COORDINATOR)).ok()?;
    let address = text.trim();
    (!address.is_empty() && address.len() <= ADDRESS_BYTES_MAX).then(|| address.to_owned())
}

/// On disk before the certificate: one whose coordinator is not known does not renew itself.
fn keep_address(folder: &Path, address: &str) -> Result<(), Error> {
    let file = folder.join(COORDINATOR);
    let beside = file.with_extension("new");
    let write = || {
        let mut open = File::create(&beside)?;
        open.write_all(format!("{address}\n").as_bytes())?;
        open.sync_all()?;
        fs::rename(&beside, &file)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| Error::Folder { file: file.display().to_string(), source })
}

/// Asks until there is room for this device: many that are switched on together come through one router.
async fn ask_patiently(token: &Token, request: &Request) -> Result<(Joined, String), Error> {
    let mut waited = 0;
    loop {
        match ask(token, request).await {
            Err(Error::Busy { .. }) if waited < TRIES_MAX => {}
            answered => return answered,
        }
        // No two devices wait alike, because no two have the same key.
        let digest = Digest::of(format!("{waited} {}", request.pem()).as_bytes());
        tokio::time::sleep(PAUSE.mul_f64(0.5 + f64::from(digest.0[0]) / 256.0)).await;
        waited += 1;
    }
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
        // So refuses an endpoint that has no room for another one.
        quinn::ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            Error::Busy { address: token.address.clone() }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes wrong without it: a device that lost power as it joined never renews, and ends a week later.
    #[test]
    fn an_identity_that_joined_renews_also_where_its_file_of_the_coordinator_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_joined(folder.path()));
        fs::write(folder.path().join(COORDINATOR), "").unwrap();
        assert_eq!((has_joined(folder.path()), coordinator_of(folder.path())), (true, None));
        keep_address(folder.path(), "hub.example:4433").unwrap();
        assert_eq!(coordinator_of(folder.path()).as_deref(), Some("hub.example:4433"));
        assert!(keep_address(&folder.path().join("nowhere"), "hub.example:4433").is_err());
    }
}
