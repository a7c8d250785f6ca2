//! An update on its way in: admitted, permitted from where it broke off, taken and screened.

use quinn::{RecvStream, SendStream};
use tokio::sync::oneshot;
use tributary_common::message::{Answer, Put, short_text};
use tributary_common::net::{self, close_code};

use super::super::now;
use super::super::partials::Key;
use super::super::spool::Spool;
use super::super::upload::{Flaw, Upload};
use super::{Admission, Input, STOPS, Session, answer, tell};

impl Session {
    /// Takes an update that is announced, if the driver admits it.
    pub(super) async fn put(
        &self,
        send: &mut SendStream,
        recv: &mut RecvStream,
        put: Box<Put>,
    ) -> Result<(), net::Error> {
        let (asked, admission) = oneshot::channel();
        let input = Input::Admit { client: self.client().clone(), put: put.clone(), answer: asked };
        drop(tell(&self.shared, input).await);
        // Who gets no answer is not judged: the next process does that.
        let Ok(admission) = admission.await else { return self.later(send, STOPS.to_owned()).await };
        match admission {
            Admission::Known => answer(send, &Answer::Permit { from: put.bytes }).await,
            Admission::No(reason) => answer(send, &Answer::Refused { reason: short_text(reason) }).await,
            Admission::Yes => {
                let permit = tokio::select! {
                    biased;
                    permit = self.shared.uploads.admit(put.bytes) => permit,
                    error = self.connection.closed() => return Err(error.into()),
                    // It has waited long enough and comes again: it holds no place meanwhile.
                    _ = send.stopped() => return Ok(()),
                };
                let taken = self.take_update(send, recv, &put).await;
                drop(permit);
                let client = self.client().clone();
                match taken {
                    Ok(Some(spool)) => {
                        let serial = self.peer.serial.clone();
                        drop(tell(&self.shared, Input::Staged { client, serial, put, spool }).await);
                    }
                    Ok(None) => {}
                    Err(Fault::Update(reason)) => {
                        let reason = short_text(reason);
                        drop(recv.stop(close_code::PROTOCOL));
                        drop(tell(&self.shared, Input::Refused { client, ticket: put.ticket, reason }).await);
                    }
                    Err(Fault::Disk(reason)) => {
                        tracing::warn!(%client, "an update is not taken: {reason}");
                        let reason = short_text(reason);
                        drop(recv.stop(close_code::BUSY));
                        let input = Input::Postponed { client, ticket: put.ticket, reason: reason.clone() };
                        drop(tell(&self.shared, input).await);
                        return self.later(send, reason).await;
                    }
                    Err(Fault::Transfer(error)) => {
                        // Who breaks it off by itself needs no answer.
                        if matches!(error, net::Error::PeerIsSlow { .. } | net::Error::TimedOut(_)) {
                            drop(recv.stop(close_code::BUSY));
                            self.later(send, error.to_string()).await?;
                        }
                        return Err(error);
                    }
                }
                Ok(())
            }
        }
    }

    /// Permits an update, from where it broke off, and takes it; `None` if there is nothing to hand on.
    async fn take_update(
        &self,
        send: &mut SendStream,
        recv: &mut RecvStream,
        put: &Put,
    ) -> Result<Option<Spool>, Fault> {
        let partials = &self.shared.partials;
        let key = Key { client: self.client().clone(), ticket: put.ticket, digest: put.digest };
        let Ok(shared) = partials.of(&key, put.bytes, now().into_std()) else {
            let reason =
                format!("{} other uploads of this client are under way", self.shared.limits.partials_per_client);
            self.later(send, reason).await?;
            return Ok(None);
        };
        let result = {
            // An earlier connection's transfer of the same update ends at once: the driver has closed that connection.
            let turn = tokio::time::timeout(self.shared.limits.handshake, shared.lock()).await;
            let mut upload = turn.map_err(|_| net::Error::TimedOut(self.shared.limits.handshake.as_secs()))?;
            if upload.is_over() {
                answer(send, &Answer::Permit { from: put.bytes }).await?;
                return Ok(None);
            }
            self.receive(send, recv, put, &key, &mut upload).await
        };
        match result {
            Err(fault @ (Fault::Disk(_) | Fault::Transfer(_))) => {
                partials.broke_off(shared, now().into_std());
                Err(fault)
            }
            other => {
                partials.over(&key);
                other
            }
        }
    }

    /// Takes what is missing; digest, finiteness, range and norm are computed on the way.
    async fn receive(
        &self,
        send: &mut SendStream,
        recv: &mut RecvStream,
        put: &Put,
        key: &Key,
        upload: &mut Upload,
    ) -> Result<Option<Spool>, Fault> {
        let begun = self.shared.partials.begin(key, upload, put.bytes);
        let (held, _space) = begun.map_err(|error| Fault::Disk(error.to_string()))?;
        net::write_message(send, &Answer::Permit { from: held }).await?;
        let pace = self.shared.limits.upload_pace;
        let receiving = net::receive(recv, put.bytes - held, pace, |block| upload.take(block));
        let longest = self.shared.limits.upload_longest;
        let result = tokio::time::timeout(longest, receiving).await;
        let result = result.unwrap_or(Err(net::Error::TimedOut(longest.as_secs())));
        match (result, upload.refusal()) {
            (_, Some(reason)) => return Err(Fault::Update(reason)),
            (Err(error @ net::Error::PeerSentTooMuch(_)), None) => return Err(Fault::Update(error.to_string())),
            (Err(error), None) => {
                upload.park();
                return Err(match error {
                    net::Error::Sink(error) => Fault::Disk(error.to_string()),
                    error => Fault::Transfer(error),
                });
            }
            (Ok(()), None) => {}
        }
        let (spool, norm) = match upload.finish(put.digest) {
            Ok(whole) => whole,
            Err(Flaw::Digest(got)) => {
                let reason = format!("its digest is {}, {} was announced", got.short(), put.digest.short());
                return Err(Fault::Update(reason));
            }
            Err(Flaw::Patched) => {
                net::write_message(send, &Answer::Again).await?;
                return Ok(None);
            }
        };
        self.shared.stages.open(norm).map_err(|refused| Fault::Update(refused.to_string()))?;
        Ok(Some(spool))
    }
}

enum Fault {
    /// The coordinator's disk does not take it: the client comes again, and the operator hears of it.
    Disk(String),
    /// The transfer broke: the client comes again.
    Transfer(net::Error),
    /// The update is bad: it gets a verdict.
    Update(String),
}

impl From<net::Error> for Fault {
    fn from(error: net::Error) -> Self {
        Self::Transfer(error)
    }
}
