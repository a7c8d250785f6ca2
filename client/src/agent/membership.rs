//! Who the client is, and how it stays so: at half of a certificate's life it asks for another one, for a new key, on the
//! connection that it has.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use quinn::Connection;
use tributary_certs::enrolment::Request as KeyRequest;
use tributary_certs::{Credentials, tls};
use tributary_common::message::{Answer, Certificate, Request};
use tributary_common::net;

use super::transfer;

/// Sleeps are no longer than this, because a machine that was suspended does not notice how the time went by.
const NAP_MAX: Duration = Duration::from_secs(600);

/// The shortest and the longest wait after a renewal that failed. Between them it is a tenth of what the certificate has
/// left, so that there are some thirty tries before its end.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

#[expect(clippy::disallowed_methods, reason = "certificates are compared with the machine's clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The credentials of a client, and where renewed ones are kept.
#[derive(Clone, Debug)]
pub struct Membership {
    credentials: Credentials,
    folder: Option<PathBuf>,
}

impl Membership {
    /// Credentials that somebody carries to this machine again before they end.
    #[must_use]
    pub const fn fixed(credentials: Credentials) -> Self {
        Self { credentials, folder: None }
    }

    /// Credentials that renew themselves, in this identity folder.
    #[must_use]
    pub const fn renewing(credentials: Credentials, folder: PathBuf) -> Self {
        Self { credentials, folder: Some(folder) }
    }

    pub(super) fn tls(&self) -> Result<rustls::ClientConfig, tributary_certs::Error> {
        tls::client_config(&self.credentials)
    }

    /// Takes renewed credentials into use: for the next connection, because this one has shown the old ones.
    pub(super) fn take(&mut self, renewed: Credentials) {
        self.credentials = renewed;
    }

    /// How long to wait after a try that failed.
    pub(super) fn retry_after(&self) -> Duration {
        (self.credentials.valid_for(now()).unwrap_or_default() / 10).clamp(RETRY.0, RETRY.1)
    }

    /// Waits for at least `wait` until a renewal is due, and renews; never ends where nothing is renewed.
    pub(super) async fn renewal(self, connection: Connection, wait: Duration) -> Result<Credentials, String> {
        let Some(folder) = self.folder else { return std::future::pending().await };
        tokio::time::sleep(wait).await;
        while let Ok(left) = self.credentials.renew_at().duration_since(now()) {
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(NAP_MAX)).await;
        }
        let request = KeyRequest::new().map_err(|error| error.to_string())?;
        let answer = ask(&connection, &request).await.map_err(|error| error.to_string())?;
        let renewed = request.granted(&answer.chain, &answer.roots).map_err(|error| error.to_string())?;
        if renewed.identity() != self.credentials.identity() {
            return Err(format!("the certificate that came is of {}", renewed.identity()));
        }
        renewed.check(now()).map_err(|error| error.to_string())?;
        // On disk before it is used: the coordinator may be gone when the old one has ended.
        let kept = tokio::task::spawn_blocking(move || renewed.replace(&folder).map(|()| renewed)).await;
        kept.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

async fn ask(connection: &Connection, request: &KeyRequest) -> Result<Certificate, net::Error> {
    let (mut send, mut recv) = connection.open_bi().await?;
    net::write_message(&mut send, &Request::Renew { request: request.pem().to_owned() }).await?;
    drop(send.finish());
    match transfer::answer(&mut recv, net::ANSWER_SECONDS).await? {
        Answer::Certificate(certificate) => Ok(certificate),
        Answer::Refused { reason } => Err(net::Error::Refused(reason)),
        other => Err(net::Error::Refused(format!("an unexpected answer: {other:?}"))),
    }
}
