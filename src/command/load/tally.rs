//! What clients saw, counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tributary_client::agent::Status;
use tributary_common::id::Ticket;
use tributary_common::parameters::Layout;

use crate::output::{bytes, duration};

/// Latencies that are kept; of a longer load the first ones.
const LATENCIES_MAX: usize = 4_000_000;

/// Different reasons that are counted apart.
const REASONS_MAX: usize = 20;

/// Counts of one load.
#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    seconds: f64,
    /// The model of the run, once a client has heard of it.
    model: Option<Arc<Layout>>,
    /// Whether a client was told that the run is over.
    is_over: bool,
    joined: u64,
    lost: u64,
    left: u64,
    cut: u64,
    updates: u64,
    /// Updates by training round; the highest is how far the run came.
    rounds: u64,
    /// In microseconds, from the end of training to the receipt.
    latencies: Vec<u32>,
    /// Updates that were given again.
    resent: u64,
    /// Updates that the coordinator could not take when they came.
    postponed: u64,
    /// Updates that the coordinator refused, by reason.
    refused: BTreeMap<String, u64>,
    /// Work that ended without an update that was given, by reason.
    dropped: BTreeMap<String, u64>,
    failures: u64,
    failure: Option<String>,
    /// The coordinator's resident memory at its highest, in bytes.
    peak: Option<u64>,
}

impl Tally {
    pub(super) const fn new(began: Instant) -> Self {
        Self {
            began,
            seconds: 0.0,
            model: None,
            is_over: false,
            joined: 0,
            lost: 0,
            left: 0,
            cut: 0,
            updates: 0,
            rounds: 0,
            latencies: Vec::new(),
            resent: 0,
            postponed: 0,
            refused: BTreeMap::new(),
            dropped: BTreeMap::new(),
            failures: 0,
            failure: None,
            peak: None,
        }
    }

    /// Ends the counting; `peak` is the coordinator's memory at its highest, in bytes.
    pub(super) fn end(&mut self, now: Instant, peak: Option<u64>) {
        self.peak = peak;
        self.seconds = now.duration_since(self.began).as_secs_f64();
        self.latencies.sort_unstable();
    }

    /// Every update is as large as the model.
    pub(super) fn model(&mut self, layout: &Arc<Layout>) {
        self.model = Some(Arc::clone(layout));
    }

    pub(super) const fn left(&mut self) {
        self.left += 1;
    }

    pub(super) const fn cut(&mut self) {
        self.cut += 1;
    }

    pub(super) fn failed(&mut self, reason: &str) {
        self.failures += 1;
        self.failure = Some(reason.to_owned());
    }

    /// How often a client joined.
    pub(super) const fn joined(&self) -> u64 {
        self.joined
    }

    /// Whether a client was told that the run is over.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// How long was counted, in seconds.
    pub(super) const fn seconds(&self) -> f64 {
        self.seconds
    }

    /// How many clients ended early, and why the last one did.
    pub(super) fn failure(&self) -> Option<(u64, &str)> {
        self.failure.as_deref().map(|reason| (self.failures, reason))
    }

    /// Counts what a client was told; `waited` is how long an acknowledged update was on its way.
    pub(super) fn status(&mut self, status: &Status, waited: Option<Duration>) {
        match status {
            Status::Joined { .. } => self.joined += 1,
            Status::Retrying { .. } => self.lost += 1,
            Status::Acknowledged { ticket, .. } => {
                self.updates += 1;
                if let Ticket::Train { round, .. } = ticket {
                    self.rounds = self.rounds.max(round.0);
                }
                if let Some(waited) = waited.filter(|_| self.latencies.len() < LATENCIES_MAX) {
                    self.latencies.push(u32::try_from(waited.as_micros()).unwrap_or(u32::MAX));
                }
            }
            Status::Dropped { reason, .. } => count(&mut self.dropped, reason),
            Status::Refused { reason, .. } => count(&mut self.refused, reason),
            Status::Resent { .. } => self.resent += 1,
            Status::Postponed { .. } => self.postponed += 1,
            Status::Finished(_) => self.is_over = true,
            Status::Progress { .. }
            | Status::Suspended
            | Status::Unfit { .. }
            | Status::NotRenewed { .. }
            | Status::Renewed { .. }
            | Status::Working { .. } => {}
        }
    }

    fn updates_per_second(&self) -> f64 {
        self.updates as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// The latency that `percent` of the updates do not exceed, in seconds (nearest rank).
    fn quantile(&self, percent: usize) -> Option<f64> {
        let rank = (self.latencies.len() * percent).div_ceil(100).checked_sub(1)?;
        self.latencies.get(rank).map(|micros| f64::from(*micros) / 1e6)
    }

    pub(super) fn to_json(&self) -> Value {
        let milliseconds = |percent| self.quantile(percent).map(|seconds| seconds * 1e3);
        json!({
            "model_bytes": self.model.as_ref().map(|layout| layout.bytes()),
            "seconds": self.seconds,
            "joined": self.joined,
            "connections_lost": self.lost,
            "left": self.left,
            "cut": self.cut,
            "rounds": self.rounds,
            "updates": self.updates,
            "updates_per_second": self.updates_per_second(),
            "latency_ms": { "p50": milliseconds(50), "p95": milliseconds(95), "p99": milliseconds(99) },
            "resent": self.resent,
            "postponed": self.postponed,
            "refused": self.refused,
            "dropped": self.dropped,
            "failed": self.failures,
            "coordinator_peak_bytes": self.peak,
        })
    }

    pub(super) fn to_lines(&self) -> Vec<(&'static str, String)> {
        let refused: u64 = self.refused.values().sum();
        let per_second = self.updates_per_second();
        let model = self.model.as_ref();
        let text = |layout: &Arc<Layout>| format!("{}, {} parameters", bytes(layout.bytes() as u64), layout.count());
        let mut lines: Vec<_> = model.map(|layout| ("model", text(layout))).into_iter().collect();
        lines.extend([
            ("time", duration(self.seconds)),
            (
                "connections",
                format!("{} joined, {} lost, {} left, {} cut", self.joined, self.lost, self.left, self.cut),
            ),
            ("rounds", self.rounds.to_string()),
            ("updates", format!("{} acknowledged, {per_second:.0} a second", self.updates)),
            ("", format!("{} given again, {} postponed, {refused} refused", self.resent, self.postponed)),
        ]);
        if let (Some(p50), Some(p95), Some(p99)) = (self.quantile(50), self.quantile(95), self.quantile(99)) {
            lines.push(("latency", format!("p50 {}, p95 {}, p99 {}", duration(p50), duration(p95), duration(p99))));
        }
        lines.extend(self.refused.iter().map(|(reason, count)| ("refused", format!("{count}: {reason}"))));
        lines.extend(self.dropped.iter().map(|(reason, count)| ("dropped", format!("{count}: {reason}"))));
        if let Some(peak) = self.peak {
            lines.push(("coordinator", format!("at most {} of memory", bytes(peak))));
        }
        lines
    }
}

/// Counts a reason; beyond so many different ones only that there was another.
fn count(reasons: &mut BTreeMap<String, u64>, reason: &str) {
    let is_known = reasons.len() < REASONS_MAX || reasons.contains_key(reason);
    *reasons.entry(if is_known { reason } else { "other reasons" }.to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::Digest;
    use tributary_common::id::{Attempt, Round};

    #[test]
    fn latencies_are_ranked_and_reasons_counted() {
        let mut tally = Tally::new(crate::command::sim::now());
        let ticket = Ticket::Train { round: Round(7), attempt: Attempt(0) };
        for ms in (1..=100).rev() {
            let status = Status::Acknowledged { ticket, digest: Digest([0; 32]), receipt: Digest([0; 32]) };
            tally.status(&status, Some(Duration::from_millis(ms)));
        }
        for reason in ["late", "late", "away"] {
            tally.status(&Status::Dropped { ticket, reason: reason.to_owned() }, None);
        }
        tally.status(&Status::Refused { ticket, reason: "norm".to_owned() }, None);
        tally.status(&Status::Resent { ticket }, None);
        tally.end(crate::command::sim::now(), None);
        let json = tally.to_json();
        assert_eq!((json["latency_ms"]["p50"].as_f64(), json["latency_ms"]["p99"].as_f64()), (Some(50.0), Some(99.0)));
        assert_eq!((json["rounds"].as_u64(), json["updates"].as_u64()), (Some(7), Some(100)));
        assert_eq!(json["dropped"], json!({ "late": 2, "away": 1 }));
        assert_eq!((&json["refused"], json["resent"].as_u64()), (&json!({ "norm": 1 }), Some(1)));
        assert!(tally.to_lines().contains(&("", "1 given again, 0 postponed, 1 refused".to_owned())));
    }

    #[test]
    fn nothing_measured_is_no_latency() {
        assert_eq!(Tally::new(crate::command::sim::now()).quantile(50), None);
    }
}
