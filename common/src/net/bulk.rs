//! Tensors on a stream of their own: raw little-endian bytes, sent from a shared buffer, taken in blocks.

use std::io;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use super::Error;

/// What is handed to the sink at once, in bytes: large enough that the sink's work per call does not count, small enough
/// that what it does in several passes stays in a second-level cache.
pub const BLOCK_BYTES: usize = 1 << 18;

/// Sends `bytes` from offset `from` on and ends the stream. Copies nothing: a hundred receivers share one buffer.
///
/// # Errors
/// The connection is gone, or the peer wants no more.
pub async fn send(stream: &mut SendStream, bytes: &Bytes, from: usize) -> Result<(), Error> {
    let mut at = from.min(bytes.len());
    while at < bytes.len() {
        let end = bytes.len().min(at + BLOCK_BYTES);
        stream.write_chunk(bytes.slice(at..end)).await?;
        at = end;
    }
    stream.finish().map_err(|_| Error::StreamEnded)
}

/// Receives as many bytes as `buffer` has, each straight into its place, and shows them in order to `look`, in blocks of
/// [`BLOCK_BYTES`] but for the last.
///
/// # Errors
/// The peer ended early or sent more.
pub async fn receive_into(
    stream: &mut RecvStream,
    buffer: &mut [u8],
    mut look: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let (mut at, mut seen) = (0, 0);
    while let Some(chunk) =
        stream.read_chunk(BLOCK_BYTES, true).await.map_err(|error| Error::Read(error.to_string()))?
    {
        let end = at + chunk.bytes.len();
        let len = buffer.len();
        let place = buffer.get_mut(at..end).ok_or(Error::PeerSentTooMuch(len as u64))?;
        place.copy_from_slice(&chunk.bytes);
        at = end;
        while at - seen >= BLOCK_BYTES {
            look(&buffer[seen..seen + BLOCK_BYTES]);
            seen += BLOCK_BYTES;
        }
    }
    if at < buffer.len() {
        return Err(Error::StreamEnded);
    }
    if seen < at {
        look(&buffer[seen..]);
    }
    Ok(())
}

/// Receives exactly `len` bytes and hands them on in order, in blocks of [`BLOCK_BYTES`] but for the last.
///
/// # Errors
/// The peer ended early or sent more, or the sink failed.
pub async fn receive(
    stream: &mut RecvStream,
    len: u64,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Error> {
    let mut block = Vec::with_capacity(BLOCK_BYTES.min(usize::try_from(len).unwrap_or(BLOCK_BYTES)));
    let mut left = len;
    while let Some(chunk) =
        stream.read_chunk(BLOCK_BYTES, true).await.map_err(|error| Error::Read(error.to_string()))?
    {
        left = left.checked_sub(chunk.bytes.len() as u64).ok_or(Error::PeerSentTooMuch(len))?;
        let mut rest = &chunk.bytes[..];
        while !rest.is_empty() {
            let taken = rest.len().min(BLOCK_BYTES - block.len());
            block.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if block.len() == BLOCK_BYTES {
                sink(&block).map_err(Error::Sink)?;
                block.clear();
            }
        }
    }
    if left > 0 {
        return Err(Error::StreamEnded);
    }
    if block.is_empty() { Ok(()) } else { sink(&block).map_err(Error::Sink) }
}
