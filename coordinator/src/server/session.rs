//! One connection: who it is, what it says, what it fetches and sends.

mod put;

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Incoming, RecvStream, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::peer::Peer;
use tributary_certs::{Serial, tls};
use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket};
use tributary_common::identity::{Identity, Role};
use tributary_common::message::{Answer, Hello, Put, Request, Results, ToClient, ToCoordinator, short_text};
use tributary_common::net::{self, FrameReader, close_code};
use tributary_common::stage::Pipeline;

use super::limits::Limits;
use super::models::Served;
use super::partials::Partials;
use super::registrar::{self, Issuing};
use super::renewals::Renewals;
use super::revocation::Revoked;
use super::role;
use super::spool::Spool;

/// Messages that may wait for a client; one that does not read them loses its connection.
const OUTBOX: usize = 64;

/// How long a client has to take the last messages.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A connection's number: a newer one of the same identity has a larger one.
pub(super) type ConnectionId = u64;

/// What sessions tell the driver.
pub(super) enum Input {
    Admit {
        client: ClientId,
        put: Box<Put>,
        answer: oneshot::Sender<Admission>,
    },
    /// A whole model was sent.
    Fetched {
        client: ClientId,
        digest: Digest,
        bytes: u64,
    },
    Gone {
        client: ClientId,
        connection: ConnectionId,
    },
    /// Beside it, how many handshakes were under way when it came.
    Hello {
        identity: Identity,
        hello: Hello,
        handle: Handle,
        under_way: usize,
    },
    Notice {
        client: Option<ClientId>,
        text: String,
    },
    /// An update is not taken now, for a reason of the coordinator's own.
    Postponed {
        client: ClientId,
        ticket: Ticket,
        reason: String,
    },
    Refused {
        client: ClientId,
        ticket: Ticket,
        reason: String,
    },
    Report {
        client: ClientId,
        serial: Serial,
        ticket: Ticket,
        results: Box<Results>,
        /// Told once the results are counted.
        taken: oneshot::Sender<()>,
    },
    Said {
        client: ClientId,
        connection: ConnectionId,
        message: ToCoordinator,
    },
    Staged {
        client: ClientId,
        serial: Serial,
        put: Box<Put>,
        spool: Spool,
    },
}

/// Whether an update may come.
pub(super) enum Admission {
    /// It is here already: nothing needs to be sent.
    Known,
    No(String),
    Yes,
}

/// The driver's end of a session.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) connection: Connection,
    /// Of the certificate with which the peer came.
    pub(super) serial: Serial,
    pub(super) outbox: mpsc::Sender<ToClient>,
}

impl Handle {
    pub(super) fn id(&self) -> ConnectionId {
        self.connection.stable_id() as u64
    }

    /// Never waits: a client that does not take its messages is closed.
    pub(super) fn say(&self, message: ToClient) {
        if self.outbox.try_send(message).is_err() {
            self.close(close_code::BUSY, "messages are not taken");
        }
    }

    pub(super) fn close(&self, code: VarInt, reason: &str) {
        self.connection.close(code, reason.as_bytes());
    }
}

/// The byte budget of uploads that are under way.
#[derive(Debug)]
pub(super) struct Uploads {
    budget: Semaphore,
    units: u32,
}

/// What one permit of the budget stands for, in bytes.
const UPLOAD_UNIT: u64 = 64 * 1024;

impl Uploads {
    pub(super) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes.div_ceil(UPLOAD_UNIT).max(1)).unwrap_or(u32::MAX);
        Self { budget: Semaphore::new(units as usize), units }
    }

    /// Waits until `bytes` more may be under way; an update larger than the budget takes all of it.
    async fn admit(&self, bytes: u64) -> tokio::sync::SemaphorePermit<'_> {
        let units = u32::try_from(bytes.div_ceil(UPLOAD_UNIT)).unwrap_or(u32::MAX).clamp(1, self.units);
        self.budget.acquire_many(units).await.expect("the budget is never closed")
    }
}

/// What all sessions share.
pub(super) struct Shared {
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) revoked: Revoked,
    pub(super) issuing: Option<Arc<Issuing>>,
    pub(super) renewals: Renewals,
    pub(super) models: watch::Receiver<Served>,
    pub(super) stages: Pipeline,
    pub(super) partials: Arc<Partials>,
    pub(super) uploads: Uploads,
    pub(super) limits: Limits,
}

/// Why a session ended, for the log.
type Ending = Result<(), String>;

/// Serves one connection to its end. `half_open` is given back after the handshake.
pub(super) async fn serve(
    incoming: Incoming,
    half_open: OwnedSemaphorePermit,
    shared: Arc<Shared>,
    closing: CancellationToken,
) {
    let address = incoming.remote_address();
    match admit(incoming, half_open, shared, closing).await {
        Ok(()) => {}
        Err(Ended::Refused(reason)) => tracing::warn!("refused a connection from {address}: {reason}"),
        Err(Ended::Session(reason)) => tracing::info!(%address, reason, "connection ended"),
    }
}

/// How a connection ended, other than well.
enum Ended {
    /// Whoever it was does not belong here: the operator hears of it.
    Refused(String),
    Session(String),
}

impl From<String> for Ended {
    fn from(reason: String) -> Self {
        Self::Session(reason)
    }
}

fn handshake_failed(error: &quinn::ConnectionError) -> Ended {
    let refusal = match error {
        quinn::ConnectionError::TransportError(error) => tls::refusal(u64::from(error.code), &error.reason),
        quinn::ConnectionError::ConnectionClosed(close) => {
            tls::refusal(u64::from(close.error_code), &String::from_utf8_lossy(&close.reason))
        }
        _ => None,
    };
    refusal.map_or_else(|| Ended::Session(format!("handshake failed: {error}")), Ended::Refused)
}

async fn admit(
    incoming: Incoming,
    half_open: OwnedSemaphorePermit,
    shared: Arc<Shared>,
    closing: CancellationToken,
) -> Result<(), Ended> {
    let handshake = async {
        let connection = incoming.await.map_err(|error| handshake_failed(&error))?;
        let peer = peer(&connection)?;
        let (send, recv) = connection.accept_bi().await.map_err(|error| error.to_string())?;
        let mut reader = FrameReader::new(recv);
        match reader.next().await.map_err(|error| error.to_string())? {
            Some(ToCoordinator::Hello(hello)) => Ok((connection, peer, hello, send, reader)),
            _ => Err(Ended::Session(format!("{} did not begin with hello", peer.identity))),
        }
    };
    // Strangers that knock and say no more do not keep a coordinator from its end.
    let handshake = closing.run_until_cancelled(handshake);
    let joined = tokio::time::timeout(shared.limits.handshake, handshake).await;
    let under_way = shared.limits.half_open.saturating_sub(half_open.semaphore().available_permits());
    drop(half_open);
    let Some(joined) = joined.map_err(|_| "handshake took too long".to_owned())? else { return Ok(()) };
    let (connection, peer, hello, send, reader) = joined?;
    connection.set_receive_window(shared.limits.windows.connection_bytes.into());
    let (outbox, messages) = mpsc::channel(OUTBOX);
    let handle = Handle { connection: connection.clone(), serial: peer.serial.clone(), outbox };
    let (client, id) = (peer.identity.name.clone(), handle.id());
    tell(&shared, Input::Hello { identity: peer.identity.clone(), hello, handle, under_way }).await?;
    let peer = Arc::new(peer);
    let session = Session { peer: Arc::clone(&peer), id, connection: connection.clone(), shared: Arc::clone(&shared) };
    let mut transfers = JoinSet::new();
    let result = session.run(send, reader, messages, closing, &mut transfers).await;
    if let Err(reason) = &result {
        let is_revoked = shared.revoked.borrow().holds(&peer.serial);
        let code = if is_revoked { close_code::NOT_ALLOWED } else { close_code::PROTOCOL };
        connection.close(code, reason.as_bytes());
    }
    tell(&shared, Input::Gone { client, connection: id }).await?;
    break_off(&connection, transfers).await;
    Ok(result?)
}

/// Ends the transfers of a connection. Where it is closed they have noticed, and keep what they brought.
async fn break_off(connection: &Connection, mut transfers: JoinSet<Ending>) {
    if connection.close_reason().is_some() {
        let ending = async { while transfers.join_next().await.is_some() {} };
        drop(tokio::time::timeout(LAST_WORDS, ending).await);
    }
    transfers.shutdown().await;
}

/// What a client is told whose update or results nobody judges any more.
const STOPS: &str = "the coordinator stops";

/// What a closed connection, a log line and a client's operator read.
pub(super) const REVOKED: &str = "the certificate was revoked";

fn peer(connection: &Connection) -> Result<Peer, String> {
    let certificates = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok())
        .ok_or_else(|| "no certificate".to_owned())?;
    tributary_certs::peer::of(&certificates).map_err(|error| error.to_string())
}

async fn tell(shared: &Shared, input: Input) -> Ending {
    shared.inputs.send(input).await.map_err(|_| "the coordinator has ended".to_owned())
}

#[derive(Clone)]
struct Session {
    peer: Arc<Peer>,
    id: ConnectionId,
    connection: Connection,
    shared: Arc<Shared>,
}

impl Session {
    fn client(&self) -> &ClientId {
        &self.peer.identity.name
    }

    fn role(&self) -> Role {
        self.peer.identity.role
    }

    /// Serves until the peer leaves, breaks the protocol, or the coordinator closes.
    async fn run(
        self,
        mut send: SendStream,
        mut reader: FrameReader,
        mut messages: mpsc::Receiver<ToClient>,
        closing: CancellationToken,
        tasks: &mut JoinSet<Ending>,
    ) -> Ending {
        let connection = self.connection.clone();
        let mut writer = JoinSet::new();
        writer.spawn(async move {
            while let Some(message) = messages.recv().await {
                net::write_message(&mut send, &message).await.map_err(|error| error.to_string())?;
            }
            // The driver has let go: what was said is taken, or the peer is too slow for it.
            drop(send.finish());
            drop(tokio::time::timeout(LAST_WORDS, send.stopped()).await);
            Err::<(), String>("the coordinator said goodbye".to_owned())
        });
        let listener = self.clone();
        tasks.spawn(async move {
            while let Some(message) = reader.next::<ToCoordinator>().await.map_err(|error| error.to_string())? {
                listener.said(message).await?;
            }
            Err("the client ended its control stream".to_owned())
        });
        let mut revoked = self.shared.revoked.clone();
        let expiry = tokio::time::sleep(registrar::time_left(&self.peer));
        tokio::pin!(expiry);
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => {
                    drop(tokio::time::timeout(LAST_WORDS, writer.join_next()).await);
                    return Ok(());
                }
                // When the bell is gone, so is the server: `closing` says so.
                Ok(()) = revoked.changed() => self.belongs()?,
                () = &mut expiry => {
                    connection.close(close_code::EXPIRED, b"the certificate has ended; come back with a new one");
                    return Ok(());
                }
                Some(ended) = writer.join_next() => return ended.map_err(|error| error.to_string())?,
                Some(ended) = tasks.join_next() => ended.map_err(|error| error.to_string())??,
                stream = connection.accept_bi() => {
                    let (send, recv) = stream.map_err(|error| error.to_string())?;
                    self.belongs()?;
                    let session = self.clone();
                    tasks.spawn(async move { session.request(send, recv).await });
                }
            }
        }
    }

    /// Asked whenever the list changes and for every new stream: the handshake was long ago.
    fn belongs(&self) -> Ending {
        if self.shared.revoked.borrow().holds(&self.peer.serial) { Err(REVOKED.to_owned()) } else { Ok(()) }
    }

    async fn said(&self, message: ToCoordinator) -> Ending {
        if !role::may_say(self.role(), &message) || matches!(message, ToCoordinator::Hello(_)) {
            return Err(format!("{} may not say this", self.role()));
        }
        tell(&self.shared, Input::Said { client: self.client().clone(), connection: self.id, message }).await
    }

    /// One stream with tensors or results. A transfer that the peer breaks off is no fault of the connection.
    async fn request(self, mut send: SendStream, mut recv: RecvStream) -> Ending {
        let reading = net::read_message::<Request>(&mut recv);
        let request = tokio::time::timeout(self.shared.limits.handshake, reading);
        let request =
            request.await.map_err(|_| "a request took too long".to_owned())?.map_err(|error| error.to_string())?;
        if !role::may_ask(self.role(), &request) {
            return Err(format!("{} may not ask for this", self.role()));
        }
        let result = match request {
            Request::Get { digest, from } => self.get(&mut send, digest, from).await,
            Request::Put(put) => self.put(&mut send, &mut recv, put).await,
            Request::Report { ticket, results } => self.report(&mut send, ticket, results).await,
            Request::Renew { request } => {
                let renewed = self.renew(request).await;
                answer(&mut send, &renewed).await
            }
        };
        if let Err(error) = result {
            tracing::debug!(client = %self.client(), %error, "a transfer ended early");
        }
        Ok(())
    }

    /// Results that nobody counts any more are not lost: the client keeps them for the next process.
    async fn report(&self, send: &mut SendStream, ticket: Ticket, results: Box<Results>) -> Result<(), net::Error> {
        let (taken, counted) = oneshot::channel();
        let (client, serial) = (self.client().clone(), self.peer.serial.clone());
        drop(tell(&self.shared, Input::Report { client, serial, ticket, results, taken }).await);
        match counted.await {
            Ok(()) => answer(send, &Answer::Permit { from: 0 }).await,
            Err(_) => self.later(send, STOPS.to_owned()).await,
        }
    }

    /// Asks the client to keep what it has and to come again with it.
    async fn later(&self, send: &mut SendStream, reason: String) -> Result<(), net::Error> {
        let seconds = u32::try_from(self.shared.limits.later.as_secs()).unwrap_or(u32::MAX);
        answer(send, &Answer::Later { seconds, reason: short_text(reason) }).await
    }

    async fn renew(&self, request: String) -> Answer {
        let Some(issuing) = &self.shared.issuing else {
            return Answer::Refused { reason: "this coordinator gives no certificates".to_owned() };
        };
        match self.shared.renewals.count(self.client()) {
            Ok(()) => issuing.renew(&self.peer, request).await,
            Err(reason) => {
                tracing::info!(client = %self.client(), reason, "refused a renewal");
                Answer::Refused { reason }
            }
        }
    }

    async fn get(&self, send: &mut SendStream, digest: Digest, from: u64) -> Result<(), net::Error> {
        let model = self.shared.models.borrow().get(&digest).cloned();
        let Some(model) = model else {
            return answer(send, &Answer::Refused { reason: format!("no model {} is served", digest.short()) }).await;
        };
        let bytes = model.bytes();
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        let left = (bytes.len() - from) as u64;
        answer(send, &Answer::Bytes { len: left }).await?;
        let sending = async {
            net::send(send, bytes, from).await?;
            // The model is there now, however many connections it took: told before the client can answer for it.
            let (client, bytes) = (self.client().clone(), bytes.len() as u64);
            drop(tell(&self.shared, Input::Fetched { client, digest, bytes }).await);
            // What is sent stays in memory until it is taken.
            drop(send.stopped().await);
            Ok(())
        };
        tokio::select! {
            sent = sending => sent,
            () = self.is_over(digest) => {
                let why = format!("model {} is over and still not taken", digest.short());
                self.connection.close(close_code::PROTOCOL, why.as_bytes());
                Err(net::Error::Refused(why))
            }
        }
    }

    /// Waits until a model was not served any more for as long as somebody may still fetch it.
    async fn is_over(&self, digest: Digest) {
        // Without a sender the server ends, and all connections with it.
        drop(self.shared.models.clone().wait_for(|served| !served.contains_key(&digest)).await);
        tokio::time::sleep(self.shared.limits.old_model).await;
    }
}

async fn answer(send: &mut SendStream, answer: &Answer) -> Result<(), net::Error> {
    net::write_message(send, answer).await?;
    if !matches!(answer, Answer::Bytes { .. }) {
        drop(send.finish());
    }
    Ok(())
}
