//! The client's shell: connects, performs the machine's effects, owns the training thread, comes back after every cut.

mod backoff;
mod ending;
mod holdings;
mod link;
mod live;
mod membership;
mod models;
mod outbox;
mod patience;
mod probe;
mod session;
mod silence;
mod status;
mod transfer;
mod transfers;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tributary_common::id::ClientId;
use tributary_common::message::Done;
use tributary_common::net::{self, System, Windows};

pub use link::{Link, measure};
pub use membership::Membership;
pub use models::MODELS_MAX;
pub use outbox::{Outbox, UPDATES_MAX};
pub use probe::{Path, probe};
pub use status::Status;
pub use worker::{Prepared, Update, Watch, Worker};

use backoff::Backoff;
use ending::{Ended, Failure};
use session::Session;

/// One try to connect may take this long; a coordinator that restarts meanwhile answers a repeated packet.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How an agent behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The client's name, for logs and jitter; who it is to the coordinator is in its certificate.
    pub name: ClientId,
    /// `host:port`.
    pub coordinator: String,
    /// Where it trains, for the operator: `cpu`.
    pub device: String,
    /// Where finished updates are kept until they are acknowledged; without one they go with the process.
    pub outbox: Option<Outbox>,
    /// Where models are kept on disk, so that another process does not fetch them again; without one in memory alone.
    pub models: Option<PathBuf>,
    /// Ends without a connection for this long; none: never.
    pub give_up_after: Option<Duration>,
    /// Ends after the run's `Done` instead of waiting for the next run.
    pub once: bool,
    /// Transport windows.
    pub windows: Windows,
    /// The connection is probed after this much silence: a shorter time notices a coordinator's restart sooner, and keeps
    /// alive what a forgetful router stands in the way of.
    pub keep_alive: Duration,
    /// The connection ends after this much silence, in which probes were not answered either; a few keep-alives long.
    pub idle: Duration,
    /// How long a finished update waits in one go, in seconds, while others have the coordinator's byte budget; then it leaves
    /// its place and comes again. [`PERMIT_SECONDS`] unless there is a reason for another time.
    pub permit_seconds: u64,
}

/// How long a finished update waits for the coordinator's permit in one go.
pub const PERMIT_SECONDS: u64 = 600;

/// Why an agent ended without being asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The coordinator does not answer as it should, or no more.
    #[error("the link to the coordinator at {coordinator} broke: {reason}")]
    Broken {
        /// Where.
        coordinator: String,
        /// What went wrong.
        reason: String,
    },
    /// No connection within the time allowed.
    #[error("could not reach the coordinator at {coordinator} for {seconds} s: {reason}")]
    Unreachable {
        /// Where.
        coordinator: String,
        /// How long it was tried.
        seconds: u64,
        /// What the last try ended with.
        reason: String,
    },
    /// The coordinator does not let this identity in, or is not who it should be.
    #[error("not authorised: {0}")]
    NotAuthorised(String),
    /// The data do not fit the run, and the agent was to end after one run.
    #[error("the data do not fit the run: {0}")]
    Unfit(String),
    /// This machine cannot make what is needed.
    #[error("could not start the client: {0}")]
    Local(String),
}

#[expect(clippy::disallowed_methods, reason = "the agent is a driver: it measures how long it is without a connection")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Serves a coordinator until stopped, or for one run. `tell` is called on the agent's task and must not block.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    settings: Settings,
    membership: Membership,
    worker: impl Worker,
    stop: CancellationToken,
    tell: impl FnMut(Status) + Send,
) -> Result<Option<Done>, Error> {
    run_on(System::Real, settings, membership, worker, stop, tell).await
}

/// As [`run`], on a machine of one's choice.
///
/// # Errors
/// See [`Error`].
pub async fn run_on(
    system: System,
    settings: Settings,
    mut membership: Membership,
    worker: impl Worker,
    stop: CancellationToken,
    mut tell: impl FnMut(Status) + Send,
) -> Result<Option<Done>, Error> {
    let thread = worker::start(worker, settings.name.as_str(), settings.outbox.clone(), &system);
    let thread = thread.map_err(|error| Error::Local(error.to_string()))?;
    let mut session = Session::new(&settings, thread);
    let mut backoff = Backoff::new(settings.name.clone());
    let mut without_connection = Duration::ZERO;
    loop {
        let began = now();
        let mut was_replaced = false;
        let (ended, joined) = tokio::select! {
            biased;
            () = stop.cancelled() => (Ended::Stopped, false),
            connected = connect(&system, &settings, &membership, without_connection) => match connected {
                Ok((endpoint, connection)) => {
                    let ended = session.serve(&settings, &mut membership, &connection, &stop, &mut tell).await;
                    endpoint.wait_idle().await;
                    was_replaced = ending::is_replaced(&connection);
                    (ended, session.has_joined())
                }
                Err(failure) => (Ended::Failed(failure), false),
            },
        };
        if joined {
            // Another process with this identity would replace this one again at once, and so on.
            if !was_replaced {
                backoff.reset();
            }
            without_connection = Duration::ZERO;
        } else {
            without_connection += began.elapsed();
        }
        let is_first = backoff.failures() == 0;
        let wait = backoff.next(session.window());
        match ended {
            Ended::Stopped => return Ok(None),
            Ended::Failed(Failure::NotAuthorised(reason)) => return Err(Error::NotAuthorised(reason)),
            Ended::Done(done) if settings.once => {
                // A run that went on without this client is no success of it.
                return session.unfit().map_or(Ok(Some(done)), |unfit| Err(Error::Unfit(unfit.to_owned())));
            }
            Ended::Done(_) => {}
            Ended::Failed(Failure::Lost(reason)) => {
                if let Some(unfit) = session.unfit().filter(|_| settings.once) {
                    return Err(Error::Unfit(unfit.to_owned()));
                }
                if is_first {
                    tell(Status::Retrying { reason: reason.clone(), wait });
                }
                if settings.give_up_after.is_some_and(|limit| without_connection >= limit) {
                    let seconds = without_connection.as_secs();
                    return Err(Error::Unreachable { coordinator: settings.coordinator, seconds, reason });
                }
            }
        }
        without_connection += wait;
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn connect(
    system: &System,
    settings: &Settings,
    membership: &Membership,
    without_connection: Duration,
) -> Result<(quinn::Endpoint, quinn::Connection), Failure> {
    let lost = |reason: String| Failure::Lost(reason);
    let mut addresses = tokio::net::lookup_host(&settings.coordinator)
        .await
        .map_err(|error| lost(format!("name not found: {error}")))?;
    let address: SocketAddr = addresses.next().ok_or_else(|| lost("the name has no address".to_owned()))?;
    let tls = membership.tls().map_err(|error| Failure::NotAuthorised(error.to_string()))?;
    let mut transport = net::transport(settings.windows);
    transport.keep_alive_interval(Some(settings.keep_alive));
    let idle = settings.idle.try_into().map_err(|_| lost("the idle timeout is too long for QUIC".to_owned()))?;
    transport.max_idle_timeout(Some(idle));
    let endpoint = system.client_endpoint(address, tls, transport).map_err(|error| lost(error.to_string()))?;
    // No DNS name is checked: the verifier wants the pinned root and the role of a coordinator instead.
    let connecting = endpoint.connect(address, "coordinator").map_err(|error| lost(error.to_string()))?;
    // Half of what is left, for a second try; one shorter than a round trip over a satellite would say nothing about the
    // coordinator.
    let left = settings.give_up_after.map_or(HANDSHAKE, |limit| limit.saturating_sub(without_connection) / 2);
    let longest = left.clamp(Duration::from_secs(1), HANDSHAKE);
    match tokio::time::timeout(longest, connecting).await {
        Ok(Ok(connection)) => Ok((endpoint, connection)),
        Ok(Err(error)) => Err(Failure::from(&error)),
        Err(_) => Err(lost(format!("no answer from {address} within {} s", longest.as_secs()))),
    }
}
