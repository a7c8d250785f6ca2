//! The end of a run, or of this process's part of it.

use tokio_util::sync::CancellationToken;
use tributary_common::Digest;
use tributary_common::id::Version;
use tributary_common::message::{Done, ToClient};
use tributary_common::parameters::Parameters;

use super::Driver;
use crate::record::reason_word;
use crate::round::{Phase, Reason};
use crate::server::{Error, writer};

/// How a served run ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// The last version.
    pub model: Parameters,
    /// Its number.
    pub version: Version,
    /// The central accuracy of the last measured round.
    pub central_accuracy: Option<f64>,
}

impl Driver {
    pub(super) async fn finish(mut self, stop: &CancellationToken) -> Result<Ended, Error> {
        let reason = self.ended.take().expect("the loop ended because of it");
        if reason.is_pause() {
            self.pause();
        }
        self.close_journal().await;
        let digest = self.model.digest();
        let path = self.store.model_path().map(|path| path.display().to_string());
        let line = self.recorder.done(&reason, self.now().seconds(), digest, self.model.norm(), path);
        match self.publish(&line) {
            // The same disk failed before; the first failure says more.
            Err(error) if matches!(reason, Reason::StoreFailed { .. }) => {
                tracing::warn!(%error, "the last event could not be kept");
            }
            published => published?,
        }
        if !reason.is_pause() {
            self.serve_the_end(&reason, digest, stop).await;
        }
        Ok(Ended {
            reason,
            version: self.machine.version(),
            central_accuracy: self.recorder.central_accuracy(),
            model: self.model,
        })
    }

    /// Tells everybody to keep what they have and to come back: the run goes on in another process.
    pub(super) fn pause(&self) {
        self.say_to_all(&ToClient::Suspended { return_ms: self.return_ms() });
    }

    /// Waits until everything that was accepted is safe and the journal is closed. Its failure was said before.
    pub(super) async fn close_journal(&mut self) {
        let Some(writer::Thread { orders, mut safe }) = self.journal.take() else { return };
        drop(orders);
        while safe.changed().await.is_ok() {}
    }

    /// Tells everybody that the run is over, and still serves the final model for a while.
    async fn serve_the_end(&mut self, reason: &Reason, model: Digest, stop: &CancellationToken) {
        let done = Done {
            reason: reason_word(reason).to_owned(),
            version: self.machine.version(),
            model,
            bytes: self.model.layout().bytes() as u64,
        };
        self.welcome.done = Some(done.clone());
        self.say_to_all(&ToClient::Done(done));
        let linger = tokio::time::sleep(self.limits.linger);
        tokio::pin!(linger);
        debug_assert!(matches!(self.machine.phase(), Phase::Done { .. }), "the machine takes no events any more");
        while !self.members.is_empty() {
            tokio::select! {
                biased;
                () = &mut linger => return,
                () = stop.cancelled() => return,
                input = self.inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => return,
                },
            }
        }
    }
}
