//! What a run tells the world: one JSON object a line, in the run folder and with `--json-lines`.
//!
//! The names here are stable and documented by `docs/events.schema.json`. Everything is computed from sums, so a simulated
//! and a deployed run tell the same story; only durations and bytes differ.

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::id::{ClientId, Round, Version};
use crate::metrics::Summary;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// First.
    Run(Run),
    /// The fate of one slot of a cohort, when its round closes.
    Slot(Slot),
    /// What one client measured, or all of them together.
    Evaluation(Evaluation),
    /// A committed round, once its evaluation is over.
    Round(RoundLine),
    /// Something an operator wants to know: a client that does not fit, an attempt below quorum, a refused connection.
    Notice(Notice),
    /// Last of a process: the run is over, or goes on in the next one.
    Done(Done),
}

/// A run begins, or goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub run: String,
    /// `run.name`.
    pub name: String,
    /// `run.seed`.
    pub seed: u64,
    /// Rounds to do.
    pub rounds: u64,
    /// Clients in the population (simulated) or waited for (deployed).
    pub clients: u64,
    /// Values in the model.
    pub parameters: u64,
    /// Size of the model in bytes.
    pub model_bytes: u64,
    /// Digest of the configuration.
    pub config: Digest,
    /// Digest of the initial model.
    pub model: Digest,
    /// Names of the classes; empty for regression.
    pub classes: Vec<String>,
    /// Version of this software.
    pub software: String,
    /// `sim` or `coordinator`.
    pub mode: String,
}

/// How a slot of a cohort ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// The round.
    pub round: Round,
    /// The attempt at it.
    pub attempt: u32,
    /// Who.
    pub client: ClientId,
    /// `folded`, `declined`, `lost` or `refused`.
    pub fate: String,
    /// Why, unless folded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Weight of the update; 0 unless folded.
    pub weight: u64,
    /// From the offer to the end of the slot.
    pub seconds: f64,
    /// Bytes of the update that arrived.
    pub bytes_up: u64,
    /// Of the other clients whose update of this round is the same, byte for byte, the first by name: somebody may count
    /// twice under two names, or two have the same data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<ClientId>,
}

/// Metrics of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// What was measured.
    pub version: Version,
    /// `train`, `local` or `central`.
    pub on: String,
    /// Whose examples; none: all of them together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// The measures.
    pub metrics: Summary,
    /// Rows are the true classes, columns the predicted ones; only for all together, and up to 64 classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Per class, only for all together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_class: Vec<ClassLine>,
}

/// Measures of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassLine {
    /// Its name.
    pub class: String,
    /// Of those called so, the share that is so.
    pub precision: f64,
    /// Of those that are so, the share called so.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Examples that are so.
    pub support: u64,
}

/// A committed round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundLine {
    /// The round.
    pub round: Round,
    /// The attempt that succeeded.
    pub attempt: u32,
    /// The version that it made.
    pub version: Version,
    /// Updates that count.
    pub clients: u64,
    /// Sum of their weights.
    pub weight: u64,
    /// From the first offer to the commit.
    pub seconds: f64,
    /// Bytes sent to clients to train in this round and to measure its version.
    pub bytes_down: u64,
    /// Bytes of updates received from clients in this round, or for an earlier one after its line.
    pub bytes_up: u64,
    /// Digest of the committed model.
    pub model: Digest,
    /// The committed model on the clients' training examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<Summary>,
    /// The committed model on the clients' own held-out examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Summary>,
    /// The committed model on the evaluators' examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub central: Option<Summary>,
}

/// A message for the operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// What happened.
    pub text: String,
}

/// The end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// `rounds`, `stop_at`, `suspended`, `quorum` or `failed`.
    pub reason: String,
    /// Rounds committed.
    pub rounds: u64,
    /// From the start of the run.
    pub seconds: f64,
    /// Digest of the last model.
    pub model: Digest,
    /// Its Euclidean norm.
    pub norm: f64,
    /// Where it is, if anything was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Done {
    /// Whether the run goes on in the next process, because this one was stopped or could not keep what it was given.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self.reason.as_str(), "failed" | "suspended")
    }
}
