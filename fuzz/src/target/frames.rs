//! Frames on a stream: whatever comes, in whatever pieces, is the same frames, and a header alone costs nothing.

use tributary_common::wire::codec::BODY_BYTES_MAX;
use tributary_common::wire::frame::{Decoder, Frame, HEADER_BYTES, PeerSentTooLong};

use super::Target;
use crate::Source;

pub(super) const TARGET: Target = Target {
    name: "frames",
    help: "frames on a control stream, from any member",
    input_bytes_max: 4 * (HEADER_BYTES + BODY_BYTES_MAX),
    heap_bytes_max: 4096,
    // Twice in the decoders' buffers, which grow by doubling, and twice as frames.
    heap_bytes_per_byte: 16,
    run,
};

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let piece = 1 + usize::from(source.byte());
    let bytes = source.rest();
    let (pieces, how) = decode(bytes.chunks(piece));
    let (whole, how_whole) = decode(std::iter::once(bytes));
    assert_eq!((&pieces, &how), (&whole, &how_whole), "the pieces in which bytes come change nothing");
    let again: Vec<u8> = whole.iter().flat_map(Frame::to_bytes).collect();
    assert!(bytes.starts_with(&again), "frames are written as they were read");
}

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Result<(), PeerSentTooLong>) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.body.len() <= BODY_BYTES_MAX, "bodies are bounded");
                    frames.push(frame);
                }
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(()))
}
