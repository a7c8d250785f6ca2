//! What the link to a coordinator carries: the handshake, a round trip, and the model that a run begins with, fetched again
//! and again. Without `Ready` this side is asked for no work, and owes none.
//!
//! Later versions are named only to whoever is asked to work on them, while the first one follows from the plan. And an
//! upload cannot be measured so: no byte of an update comes in that was not asked for.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::Connection;
use tributary_certs::Credentials;
use tributary_common::Digest;
use tributary_common::config::Document;
use tributary_common::id::Version;
use tributary_common::message::Hello;
use tributary_common::model::initial;
use tributary_common::net::{self, close_code};

use super::transfer::{self, Fault};
use super::{Error, live, now, probe};
use crate::plan::Plan;

/// What was found on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the coordinator answered.
    pub address: SocketAddr,
    /// From the lookup of the name to the coordinator's first message.
    pub welcome: Duration,
    /// The round trip, before anything was downloaded.
    pub round_trip: Duration,
    /// Where the run stands.
    pub version: Version,
    /// The size of its model in bytes.
    pub model_bytes: u64,
    /// How long each download took; none where the run is past the model that it drew for its beginning, or began with a
    /// given one.
    pub downloads: Vec<Duration>,
}

/// Measures the link to the coordinator at `host:port`, with so many downloads after one that opens the congestion window.
/// The model's size is taken in memory, twice. A client of the same identity loses its connection and comes back.
///
/// # Errors
/// Nobody answers, one side does not want the other, or the connection breaks.
pub async fn measure(coordinator: &str, credentials: Credentials, downloads: usize) -> Result<Link, Error> {
    let began = now();
    let (endpoint, connection) = probe::visit(coordinator, credentials).await?;
    let measured = async {
        let hello = Hello { software: env!("CARGO_PKG_VERSION").to_owned(), device: "none".to_owned(), holding: None };
        // The control stream stays open as long as the link is measured.
        let (_control, _reader, welcome) = live::greet(&connection, hello).await?;
        let (plan, version) = (plan(&welcome.plan)?, welcome.version);
        let mut link = Link {
            address: connection.remote_address(),
            welcome: began.elapsed(),
            round_trip: connection.rtt(),
            version,
            model_bytes: plan.model.layout.bytes() as u64,
            downloads: Vec::new(),
        };
        if version == Version(0) && plan.model.from.is_none() {
            let digest = initial::parameters(&plan.model, plan.seed).digest();
            let mut buffer = vec![0; plan.model.layout.bytes()];
            download(&connection, digest, &mut buffer).await?;
            for _ in 0..downloads {
                link.downloads.push(download(&connection, digest, &mut buffer).await?);
            }
        }
        Ok::<_, net::Error>(link)
    };
    let broken = |reason| Error::Broken { coordinator: coordinator.to_owned(), reason };
    let measured = measured.await.map_err(|error| match connection.close_reason() {
        // The close reason says more than the stream that broke because of it.
        Some(reason) => match probe::ended(coordinator, &reason) {
            Error::Unreachable { reason, .. } => broken(reason),
            refused => refused,
        },
        None => broken(error.to_string()),
    });
    connection.close(close_code::DONE, b"");
    endpoint.wait_idle().await;
    measured
}

/// The plan that a run's clients get.
fn plan(text: &str) -> Result<Plan, net::Error> {
    let unreadable = |error| net::Error::Refused(format!("its plan cannot be read: {error}"));
    Plan::parse(&Document::parse("plan", text).map_err(unreadable)?).map_err(unreadable)
}

/// Fetches the whole model over what the buffer holds.
async fn download(connection: &Connection, digest: Digest, buffer: &mut [u8]) -> Result<Duration, net::Error> {
    let began = now();
    match transfer::download(connection, digest, buffer, &mut 0, |_| {}).await {
        Ok(()) => Ok(began.elapsed()),
        Err(Fault::Broken(error) | Fault::Refused(error)) => Err(error),
        Err(Fault::Later { reason, .. }) => Err(net::Error::Refused(reason)),
    }
}
