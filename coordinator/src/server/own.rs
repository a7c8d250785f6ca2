//! The coordinator's own certificate: where it gives certificates itself, it renews its own at half of its life, while it
//! serves. Handshakes from then on see the new one; who is connected stays so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, ServerConfig};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tributary_certs::Credentials;

use super::Error;
use super::registrar::{Issuing, now};
use super::session::Input;

/// Sleeps are no longer than this, because a machine that was suspended does not notice how the time went by.
const NAP_MAX: Duration = Duration::from_secs(600);

/// The shortest and the longest wait after a renewal that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// How long to wait after a renewal that failed, by what the certificate has left: a quarter of it, so that the operator
/// hears of it more often towards the end, and still not more than a hundred times in all.
fn retry_after(left: Duration) -> Duration {
    // Once it has ended there is no hurry: nobody comes in, and the operator was told.
    if left.is_zero() { RETRY.1 } else { (left / 4).clamp(RETRY.0, RETRY.1) }
}

/// With what a port accepts connections, by the coordinator's credentials.
type Configure = dyn Fn(&Credentials) -> Result<ServerConfig, Error> + Send + Sync;

/// A port whose certificate is replaced.
pub(super) struct Port {
    pub(super) endpoint: Endpoint,
    pub(super) configure: Box<Configure>,
}

/// Who the coordinator is, and where that is kept.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) credentials: Credentials,
    pub(super) folder: PathBuf,
}

impl Own {
    /// Waits for at least `wait` until a renewal is due.
    async fn is_due(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
        while let Ok(left) = self.credentials.renew_at().duration_since(now()) {
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(NAP_MAX)).await;
        }
    }

    /// New credentials, on disk before anybody sees them.
    async fn renewed(&self, issuing: &Arc<Issuing>) -> Result<Credentials, String> {
        let (own, issuing) = (self.clone(), Arc::clone(issuing));
        let renewed = tokio::task::spawn_blocking(move || {
            let renewed = issuing.authority.renew_own(&own.credentials, now()).map_err(|error| error.to_string())?;
            renewed.replace(&own.folder).map_err(|error| error.to_string())?;
            Ok(renewed)
        });
        renewed.await.map_err(|error| error.to_string())?
    }
}

/// Renews until told to close, and shows the new certificate at every port.
pub(super) async fn keep(
    mut own: Own,
    issuing: Arc<Issuing>,
    ports: Vec<Port>,
    inputs: mpsc::Sender<Input>,
    closing: CancellationToken,
) {
    let mut wait = Duration::ZERO;
    loop {
        if closing.run_until_cancelled(own.is_due(wait)).await.is_none() {
            return;
        }
        let text = match own.renewed(&issuing).await.and_then(|renewed| show(renewed, &ports, &closing)) {
            Ok(renewed) => {
                own.credentials = renewed;
                wait = Duration::ZERO;
                "the coordinator's certificate was renewed".to_owned()
            }
            Err(reason) => {
                let left = own.credentials.valid_for(now()).unwrap_or_default();
                wait = retry_after(left);
                let hours = left.as_secs() / 3600;
                format!("the coordinator's certificate was not renewed and ends in {hours} h: {reason}")
            }
        };
        if inputs.send(Input::Notice { client: None, text }).await.is_err() {
            return;
        }
    }
}

fn show(renewed: Credentials, ports: &[Port], closing: &CancellationToken) -> Result<Credentials, String> {
    for port in ports {
        let config = (port.configure)(&renewed).map_err(|error| error.to_string())?;
        // A port that closes accepts nobody any more.
        if !closing.is_cancelled() {
            port.endpoint.set_server_config(Some(config));
        }
    }
    Ok(renewed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_that_fails_is_tried_often_enough_and_told_no_more_than_a_hundred_times() {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        for (validity, least) in [(90 * DAY, 40), (DAY, 20), (Duration::from_secs(6), 2)] {
            let (mut left, mut n_tries) = (validity / 2, 0);
            while !left.is_zero() {
                left = left.saturating_sub(retry_after(left));
                n_tries += 1;
            }
            assert!((least..100).contains(&n_tries), "{n_tries} tries in {validity:?}");
        }
        assert_eq!(retry_after(Duration::ZERO), DAY);
    }
}
