//! Where certificates are given: to devices with a token at a port of its own, and to members whose certificate is at half
//! of its life on their own connection.
//!
//! The port for joining is open to anybody. Nothing is kept of a peer before its address has proved to be real (QUIC's
//! Retry), an address has few places and handshakes, and a peer has one connection, one short message and a few seconds.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::{Endpoint, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::enrolment::{Grant, NotGranted, Secret};
use tributary_certs::peer::Peer;
use tributary_certs::{Authority, Credentials, tls};
use tributary_common::message::{Answer, Certificate, Join, Joined, short_text};
use tributary_common::net::{self, EndpointKeys, close_code};

use super::door::{Bounds, Crowd, Door, Entry, network};
use super::own::Port;
use super::session::Input;
use super::{Error, Limits};

/// The largest message of a device, in bytes: a secret and a signing request.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

#[expect(clippy::disallowed_methods, reason = "certificates are valid from now on")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// How long a peer's certificate is valid from now on. A connection does not outlive it.
pub(super) fn time_left(peer: &Peer) -> Duration {
    peer.expires.duration_since(now()).unwrap_or_default()
}

/// An authority that gives certificates while a run is served.
#[derive(Debug)]
pub struct Issuing {
    /// The authority, whose issuing key is on this machine.
    pub authority: Authority,
    /// How long the certificates are valid.
    pub validity: Duration,
}

impl Issuing {
    /// The authority works with files and waits for the disk: it has threads of its own for that.
    async fn ask(
        self: &Arc<Self>,
        question: impl FnOnce(&Self) -> Result<Grant, NotGranted> + Send + 'static,
    ) -> Result<Grant, String> {
        let issuing = Arc::clone(self);
        let answer =
            tokio::task::spawn_blocking(move || question(&issuing)).await.map_err(|error| error.to_string())?;
        answer.map_err(|error| {
            if let NotGranted::Authority(inner) = &error {
                // The peer learns that something is wrong, the operator what.
                tracing::error!("the authority could not answer: {inner}");
            }
            error.to_string()
        })
    }

    /// A new certificate for a member that is connected.
    pub(super) async fn renew(self: &Arc<Self>, peer: &Arc<Peer>, request: String) -> Answer {
        let peer = Arc::clone(peer);
        let renewed =
            self.ask(move |this| this.authority.renew(&peer.identity, &peer.serial, &request, this.validity, now()));
        match renewed.await {
            Ok(Grant { chain, roots, .. }) => Answer::Certificate(Certificate { chain, roots }),
            Err(reason) => Answer::Refused { reason: short_text(reason) },
        }
    }
}

/// The port for joining.
#[derive(Debug)]
pub(super) struct Registrar {
    endpoint: Endpoint,
    keys: EndpointKeys,
    issuing: Arc<Issuing>,
    limits: Limits,
}

impl Registrar {
    pub(super) fn bind(
        address: SocketAddr,
        credentials: &Credentials,
        issuing: Arc<Issuing>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let tls = tls::join_server_config(credentials)?;
        let keys = EndpointKeys::derive(&credentials.endpoint_secret().joining());
        let endpoint = net::server_endpoint(address, tls, net::stranger_transport(), &keys)
            .map_err(|source| Error::Listen { address, source })?;
        Ok(Self { endpoint, keys, issuing, limits })
    }

    /// This port, for the coordinator's next certificates.
    pub(super) fn port(&self) -> Port {
        let keys = self.keys.clone();
        let configure = move |credentials: &Credentials| {
            let tls = tls::join_server_config(credentials)?;
            net::server_config(tls, net::stranger_transport(), &keys)
                .map_err(|error| Error::Internal(error.to_string()))
        };
        Port { endpoint: self.endpoint.clone(), configure: Box::new(configure) }
    }

    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Answers devices until told to close. `port` is that of the members.
    pub(super) async fn serve(self, port: u16, inputs: mpsc::Sender<Input>, closing: CancellationToken) {
        let mut devices = JoinSet::new();
        let mut door = Door::new(Bounds::joining(&self.limits));
        let mut places = Places { per_address: self.limits.joining_connections_per_address, taken: BTreeMap::new() };
        let began = super::now();
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                Some(_) = devices.join_next() => {}
                incoming = self.endpoint.accept() => {
                    let Some(incoming) = incoming else { break };
                    let address = incoming.remote_address();
                    let crowd = Crowd { connections: devices.len(), half_open: places.taken_by(address.ip()) };
                    match door.knock(began.elapsed(), address.ip(), incoming.remote_address_validated(), crowd) {
                        Entry::Come => {
                            let place = places.take(address.ip());
                            let answering = answer(incoming, Arc::clone(&self.issuing), port, inputs.clone());
                            devices.spawn(within(self.limits.handshake, answering, place));
                        }
                        // A packet costs an answer of the same size and nothing else; it fails only for those validated.
                        Entry::Prove => drop(incoming.retry()),
                        Entry::Refuse(limit) => {
                            tracing::debug!(%address, limit, "refused a device");
                            incoming.refuse();
                        }
                    }
                }
            }
        }
        self.endpoint.close(close_code::DONE, b"the coordinator ends");
    }
}

/// Lets a device have its place for so long.
async fn within(
    longest: Duration,
    answering: impl Future<Output = Result<(), String>>,
    place: Option<OwnedSemaphorePermit>,
) {
    match tokio::time::timeout(longest, answering).await {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => tracing::info!("a device did not join: {reason}"),
        Err(_) => tracing::info!("a device took longer than {} s to join", longest.as_secs()),
    }
    drop(place);
}

/// The places that the devices of each address have taken. There are no more addresses in here than devices that join.
struct Places {
    per_address: usize,
    taken: BTreeMap<IpAddr, Arc<Semaphore>>,
}

impl Places {
    /// How many of its places an address has taken.
    fn taken_by(&mut self, address: IpAddr) -> usize {
        let all = self.per_address;
        self.taken.retain(|_, places| places.available_permits() < all);
        self.taken.get(&network(address)).map_or(0, |places| all - places.available_permits())
    }

    /// Takes one, until the permit is dropped; there is one, as [`Places::taken_by`] says.
    fn take(&mut self, address: IpAddr) -> Option<OwnedSemaphorePermit> {
        let places = || Arc::new(Semaphore::new(self.per_address));
        Arc::clone(self.taken.entry(network(address)).or_insert_with(places)).try_acquire_owned().ok()
    }
}

async fn answer(
    incoming: Incoming,
    issuing: Arc<Issuing>,
    port: u16,
    inputs: mpsc::Sender<Input>,
) -> Result<(), String> {
    let address = incoming.remote_address();
    let connection = incoming.await.map_err(|error| format!("handshake failed: {error}"))?;
    let (mut send, mut recv) = connection.accept_bi().await.map_err(|error| error.to_string())?;
    let Join { secret, request } =
        net::read_short_message(&mut recv, MESSAGE_BYTES_MAX).await.map_err(|error| error.to_string())?;
    let granted =
        issuing.ask(move |this| this.authority.redeem(&Secret::from_bytes(secret), &request, this.validity, now()));
    let answer = match granted.await {
        Ok(Grant { identity, chain, roots }) => {
            let text = format!("{identity} joined from {}", address.ip());
            drop(inputs.send(Input::Notice { client: Some(identity.name), text }).await);
            Joined::Granted { certificate: Certificate { chain, roots }, port }
        }
        Err(reason) => {
            tracing::warn!("refused to let a device at {address} join: {reason}");
            Joined::Refused { reason: short_text(reason) }
        }
    };
    net::write_message(&mut send, &answer).await.map_err(|error| error.to_string())?;
    drop(send.finish());
    // The device closes once it has read; a close from here could overtake the answer.
    connection.closed().await;
    Ok(())
}
