//! Frames on a stream: length of the body (u32, little-endian), tag (u8), body.

use super::codec::BODY_BYTES_MAX;

/// Bytes before the body.
pub const HEADER_BYTES: usize = 5;

/// One message as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which message it is.
    pub tag: u8,
    /// The message, encoded.
    pub body: Vec<u8>,
}

/// A peer announced a body longer than allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not read a frame: its body claims {claimed} bytes, {BODY_BYTES_MAX} are allowed")]
pub struct PeerSentTooLong {
    /// What the header says.
    pub claimed: u32,
}

impl Frame {
    /// The frame as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = u32::try_from(self.body.len()).expect("bodies are bounded by the codec");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.body.len());
        bytes.extend(len.to_le_bytes());
        bytes.push(self.tag);
        bytes.extend(&self.body);
        bytes
    }
}

/// Length of the body and tag from a frame's first bytes.
///
/// # Errors
/// The length is above the limit: nothing was allocated.
pub fn header(bytes: [u8; HEADER_BYTES]) -> Result<(usize, u8), PeerSentTooLong> {
    let [a, b, c, d, tag] = bytes;
    let claimed = u32::from_le_bytes([a, b, c, d]);
    match usize::try_from(claimed) {
        Ok(len) if len <= BODY_BYTES_MAX => Ok((len, tag)),
        _ => Err(PeerSentTooLong { claimed }),
    }
}

/// Takes bytes as they arrive and yields whole frames. Holds at most one frame and what was pushed behind it.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is here.
    ///
    /// # Errors
    /// The peer announced too long a body; the stream is of no further use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, PeerSentTooLong> {
        let Some((first, rest)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let (len, tag) = header(*first)?;
        if rest.len() < len {
            return Ok(None);
        }
        let body = rest[..len].to_vec();
        self.buffer.drain(..HEADER_BYTES + len);
        Ok(Some(Frame { tag, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let frames =
            [Frame { tag: 1, body: vec![] }, Frame { tag: 2, body: vec![9; 300] }, Frame { tag: 255, body: vec![1] }];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        for cut in 1..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for part in bytes.chunks(cut) {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames, "cut every {cut}");
        }
    }

    #[test]
    fn oversized_body_is_refused_by_its_header_alone() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(decoder.next_frame(), Err(PeerSentTooLong { claimed: u32::MAX }));
        decoder = Decoder::default();
        decoder.push(&(u32::try_from(BODY_BYTES_MAX).unwrap() + 1).to_le_bytes());
        decoder.push(&[0]);
        assert!(decoder.next_frame().is_err());
    }
}
