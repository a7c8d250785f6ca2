//! Tensors on a stream of their own: raw little-endian bytes, sent from a shared buffer, taken in blocks.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use super::Error;

/// What is handed to the sink at once, in bytes: large enough that the sink's work per call does not count, small enough
/// that what it does in several passes stays in a second-level cache.
pub const BLOCK_BYTES: usize = 1 << 18;

/// The slowest that a sender may be: so many bytes in every period, or all that is left of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes in a period.
    pub bytes: u64,
    /// The period.
    pub period: Duration,
}

impl Default for Pace {
    /// 16 KiB in 30 s: below the slowest mobile link, above a peer that holds a transfer open with a byte now and then.
    fn default() -> Self {
        Self { bytes: 16 * 1024, period: Duration::from_secs(30) }
    }
}

/// Sends `bytes` from offset `from` on and ends the stream. Copies nothing: a hundred receivers share one buffer.
///
/// # Errors
/// The connection is gone, or the peer wants no more.
pub async fn send(stream: &mut SendStream, bytes: &Bytes, from: usize) -> Result<(), Error> {
    stream.write_chunk(bytes.slice(from.min(bytes.len())..)).await?;
    stream.finish().map_err(|_| Error::StreamEnded)
}

/// Receives what `buffer` lacks from `at` on, each byte straight into its place, and shows the bytes in order to `look`,
/// in blocks of [`BLOCK_BYTES`] but for the last. Also after an error `at` says how much is here, and all of that was shown.
///
/// # Errors
/// The peer ended early, sent more or was slower than `pace`.
pub async fn receive_into(
    stream: &mut RecvStream,
    buffer: &mut [u8],
    at: &mut usize,
    pace: Pace,
    mut look: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let (mut seen, len) = (*at, buffer.len());
    let taken = take_all(stream, pace, |bytes| {
        let place = buffer.get_mut(*at..*at + bytes.len()).ok_or(Error::PeerSentTooMuch(len as u64))?;
        place.copy_from_slice(bytes);
        *at += bytes.len();
        while *at - seen >= BLOCK_BYTES {
            look(&buffer[seen..seen + BLOCK_BYTES]);
            seen += BLOCK_BYTES;
        }
        Ok(())
    });
    let taken = taken.await;
    if seen < *at {
        look(&buffer[seen..*at]);
    }
    taken?;
    if *at < len { Err(Error::StreamEnded) } else { Ok(()) }
}

/// What every block handed on is a multiple of, in bytes: the size of the widest number, so that none is torn.
pub const GRAIN_BYTES: usize = 8;

/// Receives exactly `len` bytes and hands them on in order, in blocks of [`BLOCK_BYTES`] but for the last. When the peer
/// ends early, what came of the last block is handed on too, in multiples of [`GRAIN_BYTES`]: it need not be sent again.
///
/// # Errors
/// The peer ended early, sent more or was slower than `pace`, or the sink failed.
pub async fn receive(
    stream: &mut RecvStream,
    len: u64,
    pace: Pace,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Error> {
    let mut block = Vec::with_capacity(BLOCK_BYTES.min(usize::try_from(len).unwrap_or(BLOCK_BYTES)));
    let mut left = len;
    let taken = take_all(stream, pace, |bytes| {
        left = left.checked_sub(bytes.len() as u64).ok_or(Error::PeerSentTooMuch(len))?;
        fill(&mut block, bytes, &mut sink)
    });
    let taken = match taken.await {
        Ok(()) if left > 0 => Err(Error::StreamEnded),
        taken => taken,
    };
    match taken {
        Ok(()) => {}
        // The peer is gone or slow, what it sent is as good as before.
        Err(Error::Read(_) | Error::StreamEnded | Error::PeerIsSlow { .. }) => {
            block.truncate(block.len() / GRAIN_BYTES * GRAIN_BYTES);
        }
        Err(_) => return taken,
    }
    if !block.is_empty() {
        sink(&block).map_err(Error::Sink)?;
    }
    taken
}

/// Takes what comes until the peer ends the stream, as long as it keeps its pace.
async fn take_all(
    stream: &mut RecvStream,
    pace: Pace,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let mut came = 0;
        let taking = async {
            let broken = |error: quinn::ReadError| Error::Read(error.to_string());
            while let Some(chunk) = stream.read_chunk(BLOCK_BYTES, true).await.map_err(broken)? {
                came += chunk.bytes.len() as u64;
                take(&chunk.bytes)?;
            }
            Ok(())
        };
        match tokio::time::timeout(pace.period, taking).await {
            Ok(taken) => return taken,
            Err(_) if came >= pace.bytes.max(1) => {}
            Err(_) => return Err(Error::PeerIsSlow { bytes: pace.bytes, seconds: pace.period.as_secs_f64() }),
        }
    }
}

/// Adds `bytes` to a block, which goes to the sink whenever it is full.
fn fill(block: &mut Vec<u8>, bytes: &[u8], sink: &mut impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), Error> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let taken = rest.len().min(BLOCK_BYTES - block.len());
        block.extend_from_slice(&rest[..taken]);
        rest = &rest[taken..];
        if block.len() == BLOCK_BYTES {
            sink(block).map_err(Error::Sink)?;
            block.clear();
        }
    }
    Ok(())
}
