//! One look at a coordinator: the handshake, and what the path bears, without taking part.
//!
//! No `Hello` is sent: the coordinator would let go of the connection that this identity may have already.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint};
use tributary_certs::Credentials;
use tributary_common::net::{IDLE_TIMEOUT, KEEP_ALIVE, System, Windows, close_code};

use super::ending::Failure;
use super::{Error, Membership, PERMIT_SECONDS, Settings, connect};

/// How long one look may wait for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// The handshake ends here before the coordinator has judged this side's certificate, and the search for the path's size
/// begins after it: both are over after so many round trips, and not before [`SETTLED`].
const ROUND_TRIPS: u32 = 10;

/// The shortest time that is left to refusal and search.
const SETTLED: Duration = Duration::from_secs(1);

/// What was found on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Where the coordinator answered.
    pub address: SocketAddr,
    /// The round trip.
    pub round_trip: Duration,
    /// The largest datagram that the path has carried, in bytes of UDP payload.
    pub datagram_bytes: u16,
}

fn failed(coordinator: &str, failure: Failure) -> Error {
    match failure {
        Failure::NotAuthorised(reason) => Error::NotAuthorised(reason),
        Failure::Lost(reason) => {
            Error::Unreachable { coordinator: coordinator.to_owned(), seconds: HANDSHAKE.as_secs(), reason }
        }
    }
}

/// Why a visit ended before this side did.
pub(super) fn ended(coordinator: &str, error: &ConnectionError) -> Error {
    failed(coordinator, Failure::from(error))
}

/// A connection over which nothing was said yet.
pub(super) async fn visit(coordinator: &str, credentials: Credentials) -> Result<(Endpoint, Connection), Error> {
    let settings = Settings {
        name: credentials.identity().name.clone(),
        coordinator: coordinator.to_owned(),
        device: String::new(),
        outbox: None,
        give_up_after: Some(HANDSHAKE),
        once: true,
        windows: Windows::default(),
        keep_alive: KEEP_ALIVE,
        idle: IDLE_TIMEOUT,
        permit_seconds: PERMIT_SECONDS,
        models: None,
    };
    let connected = connect(&System::Real, &settings, &Membership::fixed(credentials), Duration::ZERO).await;
    connected.map_err(|failure| failed(coordinator, failure))
}

/// Shakes hands with the coordinator at `host:port`, and leaves.
///
/// # Errors
/// Nobody answers, or one side does not want the other.
pub async fn probe(coordinator: &str, credentials: Credentials) -> Result<Path, Error> {
    let (endpoint, connection) = visit(coordinator, credentials).await?;
    let settled = SETTLED.max(connection.rtt() * ROUND_TRIPS);
    if let Ok(error) = tokio::time::timeout(settled, connection.closed()).await {
        return Err(ended(coordinator, &error));
    }
    let found = Path {
        address: connection.remote_address(),
        round_trip: connection.rtt(),
        datagram_bytes: connection.stats().path.current_mtu,
    };
    connection.close(close_code::DONE, b"");
    endpoint.wait_idle().await;
    Ok(found)
}
