//! Models in, updates and results out: one stream each.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tributary_common::Digest;
use tributary_common::message::{Answer, Offer, Put, Request};
use tributary_common::net::{self, ANSWER_SECONDS, Error};
use tributary_common::parameters::{AlignedBuffer, Layout, Parameters};

/// Asks for a permit as long as the coordinator's byte budget may be spent on others.
const PERMIT_SECONDS: u64 = 600;

/// Gets the model of `offer`; its digest is checked before it is returned.
pub(super) async fn fetch(connection: Connection, layout: Arc<Layout>, offer: Offer) -> Result<Parameters, Error> {
    if layout.bytes() as u64 != offer.bytes {
        let why = format!("the offered model has {} bytes, the plan's layers need {}", offer.bytes, layout.bytes());
        return Err(Error::Refused(why));
    }
    let (mut send, mut recv) = connection.open_bi().await?;
    net::write_message(&mut send, &Request::Get { digest: offer.model, from: 0 }).await?;
    drop(send.finish());
    match answer(&mut recv, ANSWER_SECONDS).await? {
        Answer::Bytes { len } if len == offer.bytes => {}
        Answer::Refused { reason } => return Err(Error::Refused(reason)),
        other => return Err(Error::Refused(format!("an unexpected answer: {other:?}"))),
    }
    let mut buffer = AlignedBuffer::zeroed(layout.bytes());
    let mut hasher = layout.hasher();
    net::receive_into(&mut recv, buffer.as_mut(), net::Pace::default(), |block| _ = hasher.update(block)).await?;
    let got: Digest = hasher.finalize().into();
    if got != offer.model {
        return Err(Error::Refused(format!(
            "the model that came has digest {}, {} was offered",
            got.short(),
            offer.model.short()
        )));
    }
    Ok(Parameters::new(layout, buffer.into_bytes()).expect("the buffer was made for the layout"))
}

/// Announces an update and, once permitted, sends it. The acknowledgement comes on the control stream.
pub(super) async fn put(connection: Connection, header: Put, update: Parameters) -> Result<(), Error> {
    let (mut send, mut recv) = connection.open_bi().await?;
    net::write_message(&mut send, &Request::Put(Box::new(header))).await?;
    match answer(&mut recv, PERMIT_SECONDS).await? {
        Answer::Permit { from } => {
            let from = usize::try_from(from).map_err(|_| Error::StreamEnded)?;
            net::send(&mut send, update.bytes(), from).await
        }
        Answer::Refused { reason } => Err(Error::Refused(reason)),
        Answer::Bytes { .. } | Answer::Certificate(_) => {
            Err(Error::Refused("an unexpected answer to an update".to_owned()))
        }
    }
}

/// Hands over the results of an evaluation.
pub(super) async fn report(connection: Connection, request: Request) -> Result<(), Error> {
    let (mut send, mut recv) = connection.open_bi().await?;
    net::write_message(&mut send, &request).await?;
    drop(send.finish());
    match answer(&mut recv, ANSWER_SECONDS).await? {
        Answer::Permit { .. } => Ok(()),
        Answer::Refused { reason } => Err(Error::Refused(reason)),
        Answer::Bytes { .. } | Answer::Certificate(_) => {
            Err(Error::Refused("an unexpected answer to a result".to_owned()))
        }
    }
}

pub(super) async fn answer(recv: &mut quinn::RecvStream, seconds: u64) -> Result<Answer, Error> {
    let message = net::read_message(recv);
    tokio::time::timeout(Duration::from_secs(seconds), message).await.map_err(|_| Error::TimedOut(seconds))?
}
