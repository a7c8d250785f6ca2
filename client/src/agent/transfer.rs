//! Models in, updates and results out: one stream each. What broke off goes on where it stopped.

use std::time::Duration;

use quinn::{Connection, WriteError};
use tributary_common::Digest;
use tributary_common::message::{Answer, Offer, Put, Request};
use tributary_common::net::{self, ANSWER_SECONDS, Error, close_code};
use tributary_common::parameters::Parameters;

use super::models::{Kept, Partial};

/// How often an update is announced in a row: the second time where what the coordinator held of it was wrong.
const PUTS_MAX: usize = 2;

/// Why a transfer came to no end.
#[derive(Debug)]
pub(super) enum Fault {
    /// It broke off. Where the connection stands, nobody said anything against the work: it is tried again.
    Broken(Error),
    /// The coordinator does not give or take it now: it is tried again.
    Later {
        /// After how long, as the coordinator says.
        after: Duration,
        /// Why.
        reason: String,
    },
    /// The coordinator says no, or not what it should: trying again would not help.
    Refused(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Connection(_)
            | Error::PeerIsSlow { .. }
            | Error::Read(_)
            | Error::StreamEnded
            | Error::TimedOut(_)
            | Error::Write(_) => Self::Broken(error),
            refused => Self::Refused(refused),
        }
    }
}

impl From<Answer> for Fault {
    /// An answer that does not let the transfer go on.
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Later { seconds, reason } => Self::Later { after: Duration::from_secs(seconds.into()), reason },
            Answer::Refused { reason } => Self::Refused(Error::Refused(reason)),
            other => Self::Refused(Error::Refused(format!("an unexpected answer: {other:?}"))),
        }
    }
}

/// How a download ended.
pub(super) enum Fetched {
    /// The model, whole and checked.
    Model(Parameters),
    /// Without it; what came so far.
    Missed(Fault, Option<Partial>),
}

/// Gets the model of `offer`, or what is missing of it; its digest is checked before it is returned.
pub(super) async fn fetch(connection: Connection, kept: Kept, offer: &Offer) -> Fetched {
    let mut partial = match kept {
        Kept::Whole(model) => return Fetched::Model(model),
        Kept::Partial(partial) => partial,
    };
    loop {
        let held = partial.held();
        if let Err(fault) = get(&connection, &mut partial, offer).await {
            return Fetched::Missed(fault, Some(partial));
        }
        let anew = partial.anew();
        match partial.finish() {
            Ok(model) => return Fetched::Model(model),
            // What was here before was wrong, or what came now: the whole of it tells.
            Err(_) if held > 0 => partial = anew,
            Err(got) => {
                let (got, offered) = (got.short(), offer.model.short());
                let why = format!("the model that came has digest {got}, {offered} was offered");
                return Fetched::Missed(Fault::Refused(Error::Refused(why)), None);
            }
        }
    }
}

/// Gets what is missing.
async fn get(connection: &Connection, partial: &mut Partial, offer: &Offer) -> Result<(), Fault> {
    let (buffer, at, look) = partial.room();
    if *at == buffer.len() {
        return Ok(());
    }
    download(connection, offer.model, buffer, at, look).await
}

/// Asks for a model from `at` on and receives the rest of it into `buffer`, which has the model's size; `look` is told of
/// every block in order.
pub(super) async fn download(
    connection: &Connection,
    digest: Digest,
    buffer: &mut [u8],
    at: &mut usize,
    look: impl FnMut(&[u8]),
) -> Result<(), Fault> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(Error::from)?;
    net::write_message(&mut send, &Request::Get { digest, from: *at as u64 }).await?;
    drop(send.finish());
    match answer(&mut recv, ANSWER_SECONDS).await? {
        Answer::Bytes { len } if len == (buffer.len() - *at) as u64 => {}
        other => return Err(other.into()),
    }
    Ok(net::receive_into(&mut recv, buffer, at, net::Pace::default(), look).await?)
}

/// Announces an update and, once permitted, sends what the coordinator lacks of it; each of its answers may take
/// `permit_seconds`. The end: all of it is there, or a verdict says why not; either comes on the control stream.
pub(super) async fn put(
    connection: Connection,
    header: Put,
    update: Parameters,
    permit_seconds: u64,
) -> Result<(), Fault> {
    for _ in 0..PUTS_MAX {
        if put_once(&connection, &header, &update, permit_seconds).await? {
            return Ok(());
        }
    }
    let reason = "what the coordinator held of it was wrong, twice".to_owned();
    Err(Fault::Later { after: Duration::ZERO, reason })
}

/// Announces it once; false: it is to be announced again.
async fn put_once(
    connection: &Connection,
    header: &Put,
    update: &Parameters,
    permit_seconds: u64,
) -> Result<bool, Fault> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(Error::from)?;
    net::write_message(&mut send, &Request::Put(Box::new(header.clone()))).await?;
    let from = match answer(&mut recv, permit_seconds).await? {
        Answer::Permit { from } => usize::try_from(from).map_err(|_| Error::StreamEnded)?,
        other => return Err(other.into()),
    };
    let is_sent = match net::send(&mut send, update.bytes(), from).await {
        Ok(()) => true,
        // The verdict is on its way.
        Err(Error::Write(WriteError::Stopped(code))) if code == close_code::PROTOCOL => return Ok(true),
        // It was too slow, or could not be written: the answer says so.
        Err(Error::Write(WriteError::Stopped(_))) => false,
        Err(error) => return Err(error.into()),
    };
    match answer(&mut recv, permit_seconds).await {
        Ok(Answer::Again) => Ok(false),
        Ok(later @ Answer::Later { .. }) => Err(later.into()),
        // All is here, or a verdict says why not.
        Ok(_) | Err(Error::Read(_) | Error::StreamEnded) if is_sent => Ok(true),
        Ok(_) => Err(Error::StreamEnded.into()),
        Err(error) => Err(error.into()),
    }
}

/// Hands over the results of an evaluation.
pub(super) async fn report(connection: Connection, request: Request) -> Result<(), Fault> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(Error::from)?;
    net::write_message(&mut send, &request).await?;
    drop(send.finish());
    match answer(&mut recv, ANSWER_SECONDS).await? {
        Answer::Permit { .. } => Ok(()),
        other => Err(other.into()),
    }
}

pub(super) async fn answer(recv: &mut quinn::RecvStream, seconds: u64) -> Result<Answer, Error> {
    let message = net::read_message(recv);
    tokio::time::timeout(Duration::from_secs(seconds), message).await.map_err(|_| Error::TimedOut(seconds))?
}
