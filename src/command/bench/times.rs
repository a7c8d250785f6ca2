//! Durations of something that was done several times. The median is what is compared; the fastest is what the machine can
//! do when nobody disturbs it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::output::plural;

/// What is measured so often, however long it takes, so that a median means something.
const REPETITIONS_MIN: usize = 5;

/// No more than this is kept: a step of microseconds would fill memory.
const REPETITIONS_MAX: usize = 100_000;

#[expect(clippy::disallowed_methods, reason = "measuring time is what these commands are for")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Seconds, in order of size.
#[derive(Debug)]
pub(super) struct Times(Vec<f64>);

impl Times {
    /// At least one duration.
    pub(super) fn new(mut seconds: Vec<f64>) -> Self {
        assert!(!seconds.is_empty(), "nothing was measured");
        seconds.sort_unstable_by(f64::total_cmp);
        Self(seconds)
    }

    /// Does `work` once to warm up, then for as long as `longest`, but at least five times.
    pub(super) fn of<E>(longest: Duration, mut work: impl FnMut() -> Result<(), E>) -> Result<Self, E> {
        work()?;
        let began = now();
        let mut seconds = Vec::new();
        while seconds.len() < REPETITIONS_MIN || (began.elapsed() < longest && seconds.len() < REPETITIONS_MAX) {
            let start = now();
            work()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(Self::new(seconds))
    }

    /// In seconds.
    pub(super) fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// In seconds.
    pub(super) fn fastest(&self) -> f64 {
        self.0[0]
    }

    /// The middle half of all is between these two, in seconds.
    pub(super) fn quartiles(&self) -> (f64, f64) {
        (self.0[self.0.len() / 4], self.0[self.0.len() * 3 / 4])
    }

    pub(super) fn to_json(&self) -> Value {
        let (lower, upper) = self.quartiles();
        json!({
            "median": self.median() * 1e3,
            "fastest": self.fastest() * 1e3,
            "lower_quartile": lower * 1e3,
            "upper_quartile": upper * 1e3,
            "repetitions": self.0.len(),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let (lower, upper) = self.quartiles();
        format!(
            "{} (middle half {} to {}, {})",
            milliseconds(self.median()),
            milliseconds(lower),
            milliseconds(upper),
            plural(self.0.len(), "time")
        )
    }
}

/// Milliseconds with as many digits as say something: `0.1234 ms`, `12.3 ms`.
pub(super) fn milliseconds(seconds: f64) -> String {
    match seconds * 1e3 {
        ms if ms < 1.0 => format!("{ms:.4} ms"),
        ms if ms < 100.0 => format!("{ms:.2} ms"),
        ms => format!("{ms:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_measuring_does_not_matter() {
        let times = Times::new(vec![0.004, 0.001, 0.003, 0.002, 0.5]);
        assert_eq!(times.to_text(), "3.00 ms (middle half 2.00 ms to 4.00 ms, 5 times)");
        assert!((times.fastest() - 0.001).abs() < 1e-12);
        assert_eq!(times.to_json()["repetitions"], 5);
    }

    #[test]
    fn work_is_done_at_least_five_times_and_a_failure_ends_it() {
        let mut count = 0;
        let times = Times::of(Duration::ZERO, || {
            count += 1;
            Ok::<_, ()>(())
        });
        assert_eq!((times.unwrap().0.len(), count), (5, 6));
        assert!(Times::of(Duration::ZERO, || Err("no")).is_err());
        assert_eq!(milliseconds(0.000_123_4), "0.1234 ms");
    }
}
