//! Messages on a QUIC stream.

use quinn::{RecvStream, SendStream};

use super::Error;
use crate::message::Wire;
use crate::wire::codec::BODY_BYTES_MAX;
use crate::wire::frame::{self, Decoder, Frame, HEADER_BYTES};

/// Reads frame after frame from a control stream.
#[derive(Debug)]
pub struct FrameReader {
    stream: RecvStream,
    decoder: Decoder,
}

impl FrameReader {
    /// A reader at the start of `stream`.
    #[must_use]
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: Decoder::default() }
    }

    /// The next message; `None` when the peer has ended the stream between two frames. Not cancel-safe between
    /// `await`s of different readers, so each reader lives in its own task.
    ///
    /// # Errors
    /// The connection is gone, or the peer sent what is no message.
    pub async fn next<M: Wire>(&mut self) -> Result<Option<M>, Error> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(M::of_frame(&frame)?));
            }
            let chunk = self.stream.read_chunk(HEADER_BYTES + BODY_BYTES_MAX, true).await;
            match chunk.map_err(|error| Error::Read(error.to_string()))? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => return Ok(None),
            }
        }
    }
}

/// Reads exactly one message, leaving what follows on the stream.
///
/// # Errors
/// The connection is gone, or the peer sent what is no message.
pub async fn read_message<M: Wire>(stream: &mut RecvStream) -> Result<M, Error> {
    read_short_message(stream, BODY_BYTES_MAX).await
}

/// As [`read_message`], for a message whose body has at most `bytes_max` bytes: nothing is allocated for a longer one.
///
/// # Errors
/// As [`read_message`], and if the message is longer.
pub async fn read_short_message<M: Wire>(stream: &mut RecvStream, bytes_max: usize) -> Result<M, Error> {
    let mut head = [0; HEADER_BYTES];
    read_exact(stream, &mut head).await?;
    let (len, tag) = frame::header(head)?;
    if len > bytes_max {
        return Err(Error::PeerSentTooMuch(bytes_max as u64));
    }
    let mut body = vec![0; len];
    read_exact(stream, &mut body).await?;
    Ok(M::of_frame(&Frame { tag, body })?)
}

async fn read_exact(stream: &mut RecvStream, buffer: &mut [u8]) -> Result<(), Error> {
    stream.read_exact(buffer).await.map_err(|error| match error {
        quinn::ReadExactError::FinishedEarly(_) => Error::StreamEnded,
        quinn::ReadExactError::ReadError(error) => Error::Read(error.to_string()),
    })
}

/// Writes one message.
///
/// # Errors
/// The connection is gone, or the message is too large.
pub async fn write_message(stream: &mut SendStream, message: &impl Wire) -> Result<(), Error> {
    Ok(stream.write_all(&message.to_frame()?.to_bytes()).await?)
}
