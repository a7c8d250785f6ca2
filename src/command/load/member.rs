//! One client of a load: it comes, works, is cut off or leaves, and comes again.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tributary_client::agent::{self, Membership, Status};
use tributary_common::id::{Round, Seed, Ticket};
use tributary_common::message::Done;
use tributary_common::rng::{self, Purpose, Stream};

use super::synthetic::Synthetic;
use super::tally::Tally;

/// A cut comes at a random moment within this after the work began, so that it meets training, upload and waiting.
const CUT_WITHIN: Duration = Duration::from_millis(50);

/// A client that leaves is away for a random time up to this.
const AWAY: Duration = Duration::from_secs(2);

/// One client with what it may do to the coordinator.
pub(super) struct Member {
    pub(super) settings: agent::Settings,
    pub(super) membership: Membership,
    pub(super) seed: Seed,
    pub(super) think: Duration,
    /// Probability to leave for a while when work comes.
    pub(super) churn: f64,
    /// Probability to lose the connection, and all work, soon after work came.
    pub(super) cut: f64,
    pub(super) tally: Arc<Mutex<Tally>>,
    pub(super) stop: CancellationToken,
}

impl Member {
    /// Comes, works, is cut off or leaves, and comes again, until the run is over.
    pub(super) async fn play(self) {
        for stay in 0.. {
            let mut rng = rng::stream(self.seed, Round(stay), Some(&self.settings.name), Purpose::Faults);
            let away = AWAY.mul_f64(rng.uniform());
            match self.stay(rng).await {
                Ok(None) => {}
                // The run is over for everybody: who is away now would look for a coordinator that is gone.
                Ok(Some(_)) => return self.stop.cancel(),
                Err(error) => return self.tally().failed(&error.to_string()),
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(away) => {}
            }
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From one connection to its end; nothing is remembered of it.
    async fn stay(&self, mut rng: Stream) -> Result<Option<Done>, agent::Error> {
        let gone = self.stop.child_token();
        let is_cut = Notify::new();
        let cut_after = CUT_WITHIN.mul_f64(rng.uniform());
        let worker = Synthetic::new(&self.settings.name, self.think, Arc::clone(&self.tally));
        let trained = worker.trained();
        let tell = |status: Status| {
            if let Status::Working { ticket: Ticket::Train { .. }, .. } = &status {
                let drawn = rng.uniform();
                if drawn < self.churn {
                    self.tally().left();
                    gone.cancel();
                } else if drawn < self.churn + self.cut {
                    is_cut.notify_one();
                }
            }
            let waited = trained.since(&status);
            self.tally().status(&status, waited);
        };
        let cutter = async {
            is_cut.notified().await;
            tokio::time::sleep(cut_after).await;
            self.tally().cut();
            gone.cancel();
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            ended = agent::run(self.settings.clone(), self.membership.clone(), worker, gone.clone(), tell) => ended,
            never = cutter => match never {},
        }
    }
}
