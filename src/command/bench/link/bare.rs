//! The same bytes over QUIC without a protocol: every client gets the model and sends as much back, at the same time as
//! the others. Endpoints, certificates and windows are the product's; nothing is checked, kept or answered.

use std::net::SocketAddr;

use bytes::Bytes;
use quinn::{Connection, Endpoint, RecvStream};
use tokio::task::JoinSet;
use tributary_certs::tls;
use tributary_common::id::ClientId;
use tributary_common::net::{self, EndpointKeys, Windows};

use super::{Federation, failed};
use crate::command::bench::times::now;
use crate::exit::Failure;

/// What is read at once at most.
const CHUNK: usize = 1 << 20;

/// A request of one byte, so that the stream exists for the other side, and the last word of an upload.
const WORD: &[u8] = &[1];

type Moved = Result<(), Box<dyn std::error::Error + Send + Sync>>;

pub(super) async fn rounds(
    federation: &Federation,
    model: &Bytes,
    clients: usize,
    rounds: u64,
) -> Result<Vec<f64>, Failure> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let tls = tls::server_config(&federation.coordinator, federation.revoked()?.revocations()).map_err(failed)?;
    let transport = || net::transport(Windows::default());
    let keys = EndpointKeys::derive(&[0; 32]);
    let server = net::server_endpoint(address, tls, transport(), &keys).map_err(failed)?;
    let address = server.local_addr().map_err(failed)?;
    let mut serving = JoinSet::new();
    let mut connections: Vec<(Endpoint, Connection)> = Vec::new();
    for index in 0..clients {
        let credentials = federation.client(&ClientId::simulated(index, clients))?;
        let tls = tls::client_config(&credentials).map_err(failed)?;
        let endpoint = net::client_endpoint(address, tls, transport()).map_err(failed)?;
        let connecting = endpoint.connect(address, "coordinator").map_err(failed)?;
        let accepting =
            async { server.accept().await.ok_or("the endpoint is closed")?.await.map_err(|e| e.to_string()) };
        let (connected, accepted) = tokio::join!(connecting, async { accepting.await.map_err(|e: String| e) });
        serving.spawn(serve(accepted.map_err(failed)?, model.clone()));
        connections.push((endpoint, connected.map_err(failed)?));
    }
    let mut seconds = Vec::new();
    for round in 0..=rounds {
        let start = now();
        let mut moving = JoinSet::new();
        for (_, connection) in &connections {
            moving.spawn(exchange(connection.clone(), model.clone()));
        }
        while let Some(moved) = moving.join_next().await {
            moved.map_err(failed)?.map_err(failed)?;
        }
        // The first one grows the congestion windows.
        if round > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    for (_, connection) in &connections {
        connection.close(net::close_code::DONE, b"");
    }
    while serving.join_next().await.is_some() {}
    Ok(seconds)
}

/// The server's end of one connection: a stream with a word wants the model, one with more is an upload.
async fn serve(connection: Connection, model: Bytes) -> Moved {
    // The loop ends when the client closes the connection.
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let mut word = [0];
        recv.read_exact(&mut word).await?;
        if drain(&mut recv).await? == 0 {
            send.write_chunk(model.clone()).await?;
        } else {
            send.write_all(WORD).await?;
        }
        send.finish()?;
    }
    Ok(())
}

/// A client's round: the model down, as much up, and the last word of the other side.
async fn exchange(connection: Connection, update: Bytes) -> Moved {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(WORD).await?;
    send.finish()?;
    drain(&mut recv).await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(WORD).await?;
    send.write_chunk(update).await?;
    send.finish()?;
    drain(&mut recv).await?;
    Ok(())
}

/// Reads a stream to its end and says how much there was.
async fn drain(recv: &mut RecvStream) -> Result<usize, quinn::ReadError> {
    let mut count = 0;
    while let Some(chunk) = recv.read_chunk(CHUNK, true).await? {
        count += chunk.bytes.len();
    }
    Ok(count)
}
