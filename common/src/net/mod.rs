//! QUIC endpoints, frames on streams, and tensors as raw bytes. Nothing here knows a round or a model.

mod bulk;
mod endpoint;
mod frames;
mod system;

pub use bulk::{BLOCK_BYTES, GRAIN_BYTES, Pace, receive, receive_into, send};
pub use endpoint::{
    EndpointKeys, IDLE_TIMEOUT, KEEP_ALIVE, Windows, client_endpoint, close_code, server_config, server_endpoint,
    stranger_transport, transport,
};
pub use frames::{FrameReader, read_message, read_short_message, write_message};
pub use system::{SOCKET_BYTES, Simulated, System};

use std::io;

use crate::wire::{codec, frame};

/// How long a peer may take to answer one frame, unless a caller says otherwise.
pub const ANSWER_SECONDS: u64 = 30;

/// Something that went wrong between this end and a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is gone.
    #[error("the connection ended: {0}")]
    Connection(#[from] quinn::ConnectionError),
    /// The peer ended the stream before the message was whole.
    #[error("the peer ended the stream early")]
    StreamEnded,
    /// The stream was reset or could not be read.
    #[error("could not read from the peer: {0}")]
    Read(String),
    /// The stream was stopped or could not be written.
    #[error("could not write to the peer: {0}")]
    Write(#[from] quinn::WriteError),
    /// A frame was too long.
    #[error(transparent)]
    Frame(#[from] frame::PeerSentTooLong),
    /// A message was none.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// The peer sent more bytes than it announced.
    #[error("the peer sent more than the {0} bytes it announced")]
    PeerSentTooMuch(u64),
    /// The peer sent less than it must in a period.
    #[error("the peer sent fewer than {bytes} bytes within {seconds} s")]
    PeerIsSlow {
        /// Bytes in a period.
        bytes: u64,
        /// The period, in seconds.
        seconds: f64,
    },
    /// The peer said no.
    #[error("the peer refused: {0}")]
    Refused(String),
    /// Nothing came in time.
    #[error("the peer did not answer within {0} s")]
    TimedOut(u64),
    /// What was received could not be kept.
    #[error("could not keep what the peer sent: {0}")]
    Sink(io::Error),
    /// The socket could not be made.
    #[error("could not open a UDP socket on {address}: {source}")]
    Socket {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A TLS configuration does not suit QUIC.
    #[error("could not use the TLS configuration for QUIC: {0}")]
    Tls(String),
}
