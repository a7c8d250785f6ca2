//! The only file that names bincode. Version 2 is no longer maintained and version 3 is empty, so it is fenced in here and
//! can be replaced: fixed configuration, a limit on what may be allocated, every byte must be consumed.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest encoded message body, in bytes. Texts are bounded by it too; a list in a message bounds itself, because serde
/// would make room for as many elements as it claims, up to 1 MiB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A message that could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no such message.
    #[error("could not decode a message: {0}")]
    PeerSentGarbage(String),
    /// Bytes are left after the message.
    #[error("could not decode a message: {0} bytes are left over")]
    PeerSentTrailingBytes(usize),
    /// The message is larger than a frame may be.
    #[error("could not encode a message: it is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_little_endian().with_variable_int_encoding().with_limit::<BODY_BYTES_MAX>()
}

/// The bytes of `message`.
///
/// # Errors
/// It is larger than [`BODY_BYTES_MAX`].
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, Error> {
    let bytes = bincode::serde::encode_to_vec(message, configuration()).map_err(|_| Error::TooLarge)?;
    if bytes.len() > BODY_BYTES_MAX { Err(Error::TooLarge) } else { Ok(bytes) }
}

/// The message in `bytes`, all of them.
///
/// # Errors
/// The bytes are no such message, or too many.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let (message, used) = bincode::serde::decode_from_slice(bytes, configuration())
        .map_err(|error| Error::PeerSentGarbage(error.to_string()))?;
    if used == bytes.len() { Ok(message) } else { Err(Error::PeerSentTrailingBytes(bytes.len() - used)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_bytes_and_lying_lengths_are_refused() {
        let good = encode(&vec![1_u8, 2, 3]).unwrap();
        assert_eq!(decode::<Vec<u8>>(&good).unwrap(), [1, 2, 3]);
        let longer = [good.as_slice(), &[0]].concat();
        assert_eq!(decode::<Vec<u8>>(&longer), Err(Error::PeerSentTrailingBytes(1)));
        // A length of 2^62 in bincode's variable encoding: refused before it is allocated.
        let lying = [&[253][..], &(1_u64 << 62).to_le_bytes()].concat();
        assert!(matches!(decode::<Vec<u64>>(&lying), Err(Error::PeerSentGarbage(_))));
    }

    #[test]
    fn oversized_message_is_not_sent() {
        assert_eq!(encode(&vec![7_u8; BODY_BYTES_MAX + 1]), Err(Error::TooLarge));
    }
}
