//! Models in, updates and results out: one stream each. What broke off goes on where it stopped.

use std::time::Duration;

use quinn::{Connection, WriteError};
use tributary_common::message::{Answer, Offer, Put, Request};
use tributary_common::net::{self, ANSWER_SECONDS, Error, close_code};
use tributary_common::parameters::Parameters;

use super::models::{Kept, Partial};

/// How often an update is announced in a row: the second time where what the coordinator held of it was wrong.
const PUTS_MAX: usize = 2;

/// How an update fared that was not refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// All of it is there, or a verdict says why not.
    Over,
    /// The coordinator does not take it now: it is to be announced again.
    Later {
        /// After how long, as the coordinator says.
        after: Duration,
        /// Why.
        reason: String,
    },
}

/// How a download ended.
pub(super) enum Fetched {
    /// The model, whole and checked.
    Model(Parameters),
    /// It broke off; what came so far.
    Broken(Error, Option<Partial>),
}

/// Gets the model of `offer`, or what is missing of it; its digest is checked before it is returned.
pub(super) async fn fetch(connection: Connection, kept: Kept, offer: &Offer) -> Fetched {
    let mut partial = match kept {
        Kept::Whole(model) => return Fetched::Model(model),
        Kept::Partial(partial) => partial,
    };
    loop {
        let held = partial.held();
        if let Err(error) = get(&connection, &mut partial, offer).await {
            return Fetched::Broken(error, Some(partial));
        }
        let anew = partial.anew();
        match partial.finish() {
            Ok(model) => return Fetched::Model(model),
            // What was here before was wrong, or what came now: the whole of it tells.
            Err(_) if held > 0 => partial = anew,
            Err(got) => {
                let (got, offered) = (got.short(), offer.model.short());
                let why = format!("the model that came has digest {got}, {offered} was offered");
                return Fetched::Broken(Error::Refused(why), None);
            }
        }
    }
}

/// Gets what is missing.
async fn get(connection: &Connection, partial: &mut Partial, offer: &Offer) -> Result<(), Error> {
    let (buffer, at, look) = partial.room();
    if *at == buffer.len() {
        return Ok(());
    }
    let (mut send, mut recv) = connection.open_bi().await?;
    net::write_message(&mut send, &Request::Get { digest: offer.model, from: *at as u64 }).await?;
    drop(send.finish());
    match answer(&mut recv, ANSWER_SECONDS).await? {
        Answer::Bytes { len } if len == (buffer.len() - *at) as u64 => {}
        Answer::Refused { reason } => return Err(Error::Refused(reason)),
        other => return Err(Error::Refused(format!("an unexpected answer: {other:?}"))),
    }
    net::receive_into(&mut recv, buffer, at, net::Pace::default(), look).await
}

/// Announces an update and, once permitted, sends what the coordinator lacks of it; each of its answers may take
/// `permit_seconds`. The acknowledgement comes on the
/// control stream.
///
/// # Errors
/// The update is refused, the coordinator breaks the protocol, or the connection is gone.
pub(super) async fn put(
    connection: Connection,
    header: Put,
    update: Parameters,
    permit_seconds: u64,
) -> Result<Handed, Error> {
    for _ in 0..PUTS_MAX {
        match put_once(&connection, &header, &update, permit_seconds).await {
            Ok(Some(handed)) => return Ok(handed),
            Ok(None) => {}
            // The connection stands, and nobody said anything against the update.
            Err(error @ (Error::Read(_) | Error::StreamEnded | Error::TimedOut(_) | Error::Write(_)))
                if connection.close_reason().is_none() =>
            {
                return Ok(Handed::Later { after: Duration::ZERO, reason: error.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    let reason = "what the coordinator held of it was wrong, twice".to_owned();
    Ok(Handed::Later { after: Duration::ZERO, reason })
}

/// Announces it once; `None`: again.
async fn put_once(
    connection: &Connection,
    header: &Put,
    update: &Parameters,
    permit_seconds: u64,
) -> Result<Option<Handed>, Error> {
    let (mut send, mut recv) = connection.open_bi().await?;
    net::write_message(&mut send, &Request::Put(Box::new(header.clone()))).await?;
    let later = |seconds: u32, reason| Handed::Later { after: Duration::from_secs(seconds.into()), reason };
    let from = match answer(&mut recv, permit_seconds).await? {
        Answer::Permit { from } => usize::try_from(from).map_err(|_| Error::StreamEnded)?,
        Answer::Later { seconds, reason } => return Ok(Some(later(seconds, reason))),
        Answer::Refused { reason } => return Err(Error::Refused(reason)),
        Answer::Again | Answer::Bytes { .. } | Answer::Certificate(_) => {
            return Err(Error::Refused("an unexpected answer to an update".to_owned()));
        }
    };
    let is_sent = match net::send(&mut send, update.bytes(), from).await {
        Ok(()) => true,
        // The verdict is on its way.
        Err(Error::Write(WriteError::Stopped(code))) if code == close_code::PROTOCOL => return Ok(Some(Handed::Over)),
        // It was too slow, or could not be written: the answer says so.
        Err(Error::Write(WriteError::Stopped(_))) => false,
        Err(error) => return Err(error),
    };
    match answer(&mut recv, permit_seconds).await {
        Ok(Answer::Again) => Ok(None),
        Ok(Answer::Later { seconds, reason }) => Ok(Some(later(seconds, reason))),
        // All is here, or a verdict says why not.
        Ok(_) | Err(Error::Read(_) | Error::StreamEnded) if is_sent => Ok(Some(Handed::Over)),
        Ok(_) => Err(Error::StreamEnded),
        Err(error) => Err(error),
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
        Answer::Again | Answer::Bytes { .. } | Answer::Certificate(_) | Answer::Later { .. } => {
            Err(Error::Refused("an unexpected answer to a result".to_owned()))
        }
    }
}

pub(super) async fn answer(recv: &mut quinn::RecvStream, seconds: u64) -> Result<Answer, Error> {
    let message = net::read_message(recv);
    tokio::time::timeout(Duration::from_secs(seconds), message).await.map_err(|_| Error::TimedOut(seconds))?
}
