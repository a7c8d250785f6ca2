//! How long things take, and who vanishes: a model of links and devices, drawn from the seed.

use std::time::Duration;

use tributary_common::id::{ClientId, Round, Seed, Ticket};
use tributary_common::rng::{self, Purpose};

use crate::Settings;

/// The links and devices of all clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    settings: Settings,
    seed: Seed,
}

impl Link {
    pub(crate) const fn new(settings: Settings, seed: Seed) -> Self {
        Self { settings, seed }
    }

    /// A message without payload.
    pub(crate) const fn message(&self) -> Duration {
        self.settings.latency
    }

    /// A transfer: latency, then the bytes at the link's pace; what is lost is sent again.
    pub(crate) fn transfer(&self, bytes: usize) -> Duration {
        let Some(bandwidth) = self.settings.bandwidth else { return self.settings.latency };
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        let seconds = bytes as f64 / bandwidth / (1.0 - self.settings.loss);
        self.settings.latency + Duration::from_secs_f64(seconds)
    }

    /// Local training of so many steps.
    pub(crate) fn training(&self, steps: u64) -> Duration {
        self.settings.per_step.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
    }

    /// Whether `client` vanishes when this work is offered: keyed by round and client, so that every number of workers and
    /// every restart sees the same.
    pub(crate) fn vanishes(&self, client: &ClientId, ticket: Ticket) -> bool {
        let Ticket::Train { round, attempt } = ticket else { return false };
        if self.settings.drop_out <= 0.0 {
            return false;
        }
        // Another attempt meets another day: its draws follow those of the attempts before.
        let mut stream = rng::stream(self.seed, Round(round.0), Some(client), Purpose::Faults);
        let draws = (0..=attempt.0).map(|_| stream.uniform());
        draws.last().is_some_and(|draw| draw < self.settings.drop_out)
    }
}
