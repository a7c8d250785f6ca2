//! What travels between coordinator and clients. These are wire types: decoded from a frame, checked, then turned into the
//! events of a machine. Identity is never in a message; it comes from the certificate.
//!
//! Control messages share one stream a connection, opened by the client. Tensors travel on streams of their own, each
//! opened by the client with one [`Request`]; see [`crate::net`].

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::id::{RunId, Slot, Ticket, Version};
use crate::metrics::Metrics;
use crate::wire::codec;
use crate::wire::frame::Frame;

/// The longest reason or description in a message, in bytes; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 1024;

/// `text`, cut at a character boundary so that it fits a message.
#[must_use]
pub fn short_text(text: impl Into<String>) -> String {
    let mut text = text.into();
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// What a client says on the control stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToCoordinator {
    /// First on every connection.
    Hello(Hello),
    /// Answers `Welcome` once the data are loaded and fit.
    Ready(Ready),
    /// Answers `Welcome`: the data do not fit the plan. The client stays connected but is given no work.
    Unfit {
        /// Why, for the coordinator's operator.
        reason: String,
    },
    /// Answers `Offer`: work has begun.
    Accept {
        /// The offer's.
        ticket: Ticket,
    },
    /// Answers `Offer`, or ends accepted work: no result will come.
    Decline {
        /// The offer's.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// At most once a second while training.
    Progress {
        /// What is being worked on.
        ticket: Ticket,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
}

/// The first message of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the client's software, for the operator.
    pub software: String,
    /// Where it trains: `cpu`, `cuda:0`.
    pub device: String,
    /// The finished update that it holds and that was not acknowledged.
    pub holding: Option<Holding>,
}

/// A finished update that waits for its receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The run: another one has rounds of the same numbers.
    pub run: RunId,
    /// The offer's.
    pub ticket: Ticket,
}

/// What a client brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Examples for training.
    pub examples: u64,
    /// Examples held out, for `local` evaluation; for an evaluator all it has.
    pub holdout: u64,
}

/// What the coordinator says on the control stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToClient {
    /// Answers `Hello`: the client has joined, and this is the truth about the run.
    Welcome(Welcome),
    /// Work to do.
    Offer(Offer),
    /// Stop working on this, nobody waits for it any more.
    Cancel {
        /// What to stop.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// The update counts and is safe; the client forgets it.
    Receipt {
        /// The offer's.
        ticket: Ticket,
        /// The update's digest.
        digest: Digest,
        /// What proves it: a keyed digest over run, work, client and update, under a key of the coordinator's. The same
        /// update gets the same receipt however often it is asked for.
        receipt: Digest,
    },
    /// The update does not count.
    Verdict {
        /// The offer's.
        ticket: Ticket,
        /// Why, naming the tensor where there is one.
        reason: String,
    },
    /// The run is over; the final model can still be fetched.
    Done(Done),
    /// The coordinator stops for a while: what was accepted stays accepted; come back.
    Suspended {
        /// Over how long clients spread their return, in milliseconds.
        return_ms: u32,
    },
    /// The update does not count, because another one of this client was accepted for the same work.
    Conflict {
        /// The offer's.
        ticket: Ticket,
        /// The digest of the update that counts.
        counted: Digest,
    },
}

/// Where the run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The run.
    pub run: RunId,
    /// What every client needs of the run file, as its canonical text.
    pub plan: String,
    /// The last committed version.
    pub version: Version,
    /// Set once the run is over.
    pub done: Option<Done>,
    /// Over how long clients spread their return when the coordinator is gone, in milliseconds: as long as it takes to
    /// shake hands with all that were here when this was said.
    pub return_ms: u32,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What it is for.
    pub ticket: Ticket,
    /// The client's place in the cohort.
    pub slot: Slot,
    /// The version to start from.
    pub version: Version,
    /// Its digest.
    pub model: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is left until the deadline, in milliseconds: clocks need not agree.
    pub left_ms: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Why it ended.
    pub reason: String,
    /// The final version.
    pub version: Version,
    /// Its digest.
    pub model: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// First on every stream that carries tensors or results, from the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Asks for a model, from a byte offset on. Answered by [`Answer::Bytes`] and the bytes, or by [`Answer::Later`].
    Get {
        /// The model's digest.
        digest: Digest,
        /// What is here already, in bytes: the answer begins behind it.
        from: u64,
    },
    /// Announces an update. Answered by [`Answer::Permit`]; no byte comes before it. When all bytes are here, the
    /// coordinator ends the stream, or says [`Answer::Again`] before it does. At any time it may say [`Answer::Later`]
    /// instead.
    Put(Box<Put>),
    /// The result of an evaluation; nothing follows. Answered by [`Answer::Permit`] once it is counted, or by
    /// [`Answer::Later`].
    Report {
        /// The offer's.
        ticket: Ticket,
        /// What was measured.
        results: Box<Results>,
    },
    /// Asks for a new certificate, at half the life of the one in use. Answered by [`Answer::Certificate`].
    Renew {
        /// The signing request of a new key, in PEM. Nothing but the public key is taken from it.
        request: String,
    },
}

/// What a device that is no member yet says, once a connection, at the port for joining.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The secret of its token.
    pub secret: [u8; 32],
    /// The signing request of its key, in PEM.
    pub request: String,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Join(…)")
    }
}

/// A certificate that was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The member's certificate and the issuing authority's, in PEM.
    pub chain: String,
    /// The roots to trust from now on, in PEM.
    pub roots: String,
}

/// The answer to [`Join`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Joined {
    /// The device is a member.
    Granted {
        /// What makes it one.
        certificate: Certificate,
        /// The port for members, on the same host.
        port: u16,
    },
    /// No.
    Refused {
        /// Why.
        reason: String,
    },
}

/// The header of an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Put {
    /// The offer's.
    pub ticket: Ticket,
    /// The version that was trained from.
    pub version: Version,
    /// BLAKE3(layout digest ‖ bytes) of the update.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// The integer weight: the number of examples trained on.
    pub weight: u64,
}

/// What an evaluation measured, each present where it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// On the examples that clients train on.
    pub train: Option<Metrics>,
    /// On the examples that clients hold out.
    pub local: Option<Metrics>,
    /// On an evaluator's examples.
    pub central: Option<Metrics>,
}

/// The coordinator's answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// So many bytes follow.
    Bytes {
        /// How many.
        len: u64,
    },
    /// Send the bytes from this offset on.
    Permit {
        /// What the coordinator already holds.
        from: u64,
    },
    /// No.
    Refused {
        /// Why.
        reason: String,
    },
    /// The new certificate.
    Certificate(Certificate),
    /// Follows a permit that was not for the first byte, once all bytes came: together they are not what was announced. The
    /// coordinator has forgotten what it held; the client announces its update again.
    Again,
    /// Instead of any other answer to a [`Request`] that is about work, or in the middle of what was permitted: the
    /// coordinator does not take or give it now, for a reason that is not the client's. It may still count: the client keeps
    /// what it has, and asks again after a while.
    Later {
        /// After how long, in seconds; the client waits longer each time that it hears this.
        seconds: u32,
        /// Why, for the client's operator.
        reason: String,
    },
}

/// A message that has a place in the tables of tags below.
pub trait Wire: Sized {
    /// The message as a frame.
    ///
    /// # Errors
    /// It is larger than a frame may be.
    fn to_frame(&self) -> Result<Frame, codec::Error>;

    /// The message in a frame.
    ///
    /// # Errors
    /// Unknown tag, or a body that is no such message.
    fn of_frame(frame: &Frame) -> Result<Self, codec::Error>;
}

/// Each family of messages owns one tag; inside it the variants' order is part of the protocol `tributary/1`.
macro_rules! wire {
    ($($family:ty = $tag:literal),* $(,)?) => {$(
        impl Wire for $family {
            fn to_frame(&self) -> Result<Frame, codec::Error> {
                Ok(Frame { tag: $tag, body: codec::encode(self)? })
            }

            fn of_frame(frame: &Frame) -> Result<Self, codec::Error> {
                if frame.tag == $tag {
                    codec::decode(&frame.body)
                } else {
                    Err(codec::Error::PeerSentGarbage(format!("tag {} where {} belongs", frame.tag, $tag)))
                }
            }
        }
    )*};
}

wire!(ToCoordinator = 1, ToClient = 2, Request = 3, Answer = 4, Join = 5, Joined = 6);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Attempt, Round};

    const TICKET: Ticket = Ticket::Train { round: Round(3), attempt: Attempt(1) };

    /// A reordered variant or field breaks every deployed client without any error at compile time.
    #[test]
    fn bytes_on_the_wire_are_pinned() {
        let accept = ToCoordinator::Accept { ticket: TICKET }.to_frame().unwrap().to_bytes();
        assert_eq!(accept, [4, 0, 0, 0, 1, 3, 1, 3, 1]);
        let offer = Offer {
            ticket: TICKET,
            slot: Slot(2),
            version: Version(2),
            model: Digest([7; 32]),
            bytes: 300,
            left_ms: 5,
        };
        let bytes = ToClient::Offer(offer.clone()).to_frame().unwrap().to_bytes();
        assert_eq!(ToClient::of_frame(&Frame { tag: 2, body: bytes[5..].to_vec() }).unwrap(), ToClient::Offer(offer));
        assert_eq!(&bytes[5..11], &[1, 1, 3, 1, 2, 2]);
    }

    #[test]
    fn messages_of_the_wrong_family_and_garbage_are_refused() {
        let frame = ToClient::Suspended { return_ms: 250 }.to_frame().unwrap();
        assert!(ToCoordinator::of_frame(&frame).is_err());
        for len in 0..40 {
            let garbage = Frame { tag: 3, body: vec![0xfe; len] };
            assert!(Request::of_frame(&garbage).is_err());
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert!(short_text("ä".repeat(1000)).len() <= TEXT_BYTES_MAX);
    }
}
