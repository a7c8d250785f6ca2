//! How many handshakes a second this coordinator manages, and over how long its clients should spread their return.
//!
//! The rate is measured while several handshakes are under way: then it is the machine's, not that of those who knock.
//! There is no clock in here.

use std::time::Duration;

/// Handshakes under way from which on they wait for this side, not it for them.
const BUSY: usize = 8;

/// Handshakes that make one measurement.
const SAMPLE: u32 = 32;

/// What is assumed before anything was measured, in handshakes a second: both ends of 3 ms on one core.
const RATE_UNMEASURED: f64 = 300.0;

/// The bounds of a believable rate, in handshakes a second.
const RATE: (f64, f64) = (10.0, 10_000.0);

/// Clients come back in this many times the shortest time that it could take: the rest of the machine has work to do too.
const SLACK: f64 = 2.0;

/// The shortest and the longest time that is named.
pub(super) const WINDOW: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// Measures handshakes.
#[derive(Debug)]
pub(super) struct Returning {
    rate: f64,
    /// When the sample under way began, and how many handshakes it has.
    sample: Option<(Duration, u32)>,
}

impl Returning {
    pub(super) const fn new() -> Self {
        Self { rate: RATE_UNMEASURED, sample: None }
    }

    /// A handshake ended at `at`, which must not go backwards, while so many others were under way.
    pub(super) fn came(&mut self, at: Duration, under_way: usize) {
        if under_way < BUSY {
            self.sample = None;
            return;
        }
        let (began, count) = self.sample.unwrap_or((at, 0));
        let seconds = at.saturating_sub(began).as_secs_f64();
        if count < SAMPLE || seconds <= 0.0 {
            self.sample = Some((began, count.saturating_add(1)));
            return;
        }
        // Half of it is new: one odd sample is not believed alone.
        self.rate = f64::midpoint(self.rate, f64::from(count) / seconds).clamp(RATE.0, RATE.1);
        self.sample = Some((at, 1));
    }

    /// The time over which `clients` should spread their return.
    pub(super) fn window(&self, clients: usize) -> Duration {
        Duration::from_secs_f64(SLACK * clients as f64 / self.rate).clamp(WINDOW.0, WINDOW.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// What goes wrong without it: a thousand clients come back in a second, and most of them in vain.
    #[test]
    fn the_window_follows_the_rate_that_was_measured_under_load() {
        let mut returning = Returning::new();
        let before = returning.window(600);
        assert_eq!(before, milliseconds(4000));
        // One after the other says nothing about how fast it could be.
        (0..1000).for_each(|i| returning.came(milliseconds(100 * i), 1));
        assert_eq!(returning.window(600), before);
        (0..1000).for_each(|i| returning.came(milliseconds(100_000 + 10 * i), BUSY));
        let after = returning.window(600);
        assert!(after > milliseconds(11_900) && after <= milliseconds(12_000), "a hundred a second: {after:?}");
    }

    #[test]
    fn a_window_has_bounds() {
        let mut returning = Returning::new();
        assert_eq!((returning.window(1), returning.window(10_000_000)), WINDOW);
        (0..1000).for_each(|_| returning.came(milliseconds(5), BUSY));
        assert_eq!(returning.window(600), milliseconds(4000), "no time is no rate");
    }
}
