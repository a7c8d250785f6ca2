//! A token bucket: how often something may happen. How fast it fills is said by whoever asks, and so is the time.

use std::time::Duration;

use super::limits::Rate;

/// Tokens that are left, at the time of the last look.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) tokens: f64,
    at: Duration,
}

impl Bucket {
    pub(super) fn full(rate: Rate, at: Duration) -> Self {
        Self { tokens: f64::from(rate.burst), at }
    }

    pub(super) fn fill(&mut self, rate: Rate, at: Duration) {
        let came = at.saturating_sub(self.at).as_secs_f64() * rate.per_second;
        self.tokens = (self.tokens + came).min(f64::from(rate.burst));
        self.at = at;
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.tokens < 1.0
    }

    /// Whether nothing would be lost by forgetting it.
    pub(super) fn is_full(&self, rate: Rate) -> bool {
        self.tokens >= f64::from(rate.burst)
    }
}
