//! Local training: what turns a model and a client's examples into an update, and measures a model.
//!
//! [`Trainer`] is the door for one's own training in whatever framework. [`Local`] is ours. It has two executions behind
//! one internal trait, held equal by a test: `direct` runs the list of layers by the kernels over buffers that stay from
//! step to step, and is what trains on a CPU; `autograd` (feature `candle`) is the reference. A third, `stack`, trains
//! several clients at once, for devices that one small model does not keep busy.
//!
//! Deliberately not here: rounds, connections and stages. A result is a pure function of the model's bytes, the plan, the
//! examples and the streams of (seed, round, client).

#[cfg(feature = "candle")]
mod autograd;
mod batches;
#[cfg(feature = "candle")]
mod descent;
mod direct;
mod error;
#[cfg(test)]
mod golden;
mod local;
mod memory;
#[cfg(feature = "candle")]
mod portion;
#[cfg(feature = "candle")]
mod stack;
mod tally;
#[cfg(test)]
mod tests;

use tributary_common::id::{ClientId, Round};
use tributary_common::metrics::Metrics;
use tributary_common::parameters::Parameters;

pub use error::Error;
pub use local::Local;
pub use memory::check_step;
#[cfg(feature = "candle")]
pub use stack::CLIENTS_MAX;

use crate::data::Dataset;

/// One who trains. Called on one thread, one call at a time; what it keeps between calls must not change results.
pub trait Trainer: Send {
    /// Trains from the task's model and returns what changed.
    ///
    /// # Errors
    /// Why no update comes. A failed trainer must be usable again.
    fn train(&mut self, task: &Task<'_>, control: &mut dyn Control) -> Result<Trained, Error>;

    /// How many clients it trains at once, at least 1. Whoever has the work of many clients gives it so many at a time.
    fn clients(&self) -> usize {
        1
    }

    /// Trains several clients: what comes of each task, in their order. One that fails takes no other with it.
    fn train_all(&mut self, tasks: &[Task<'_>], control: &mut dyn Control) -> Vec<Result<Trained, Error>> {
        tasks.iter().map(|task| self.train(task, control)).collect()
    }

    /// Measures `model` on `examples`.
    ///
    /// # Errors
    /// Why no result comes.
    fn evaluate(
        &mut self,
        model: &Parameters,
        examples: &Examples<'_>,
        control: &mut dyn Control,
    ) -> Result<Metrics, Error>;
}

/// What to train, for whom and when.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The round, part of the key of every random choice.
    pub round: Round,
    /// The client, likewise.
    pub client: &'a ClientId,
    /// The model of the round.
    pub model: &'a Parameters,
    /// What the client trains on.
    pub examples: Examples<'a>,
}

/// A client's examples: an index list over a data set that many may share.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a> {
    /// The data set.
    pub dataset: &'a Dataset,
    /// Which of its examples, in the client's order; each below the data set's length.
    pub indices: &'a [u32],
}

/// What training returns.
#[derive(Clone, Debug)]
pub struct Trained {
    /// w_k − w in the model's type.
    pub update: Parameters,
    /// Number of examples trained on, each counted once.
    pub weight: u64,
    /// Collected on the way, of each batch before its step; none above [`tributary_common::metrics::CLASSES_MAX`] classes.
    pub metrics: Option<Metrics>,
    /// Steps taken.
    pub steps: u64,
}

/// Examples that are measured in one piece. A longer list is measured piece by piece and merged, so that many threads may
/// share it and the result has the same bits whoever does it.
pub const PIECE: usize = 500;

/// Measures `model` on `examples`, piece by piece.
///
/// # Errors
/// As [`Trainer::evaluate`].
pub fn evaluate_in_pieces(
    trainer: &mut dyn Trainer,
    model: &Parameters,
    examples: &Examples<'_>,
    control: &mut dyn Control,
) -> Result<Metrics, Error> {
    let mut pieces = examples.indices.chunks(PIECE);
    let piece = |indices| Examples { dataset: examples.dataset, indices };
    let mut all = trainer.evaluate(model, &piece(pieces.next().unwrap_or_default()), control)?;
    for indices in pieces {
        all.merge(&trainer.evaluate(model, &piece(indices), control)?)?;
    }
    Ok(all)
}

/// Watches work from outside.
pub trait Control {
    /// Called before every batch with the number of batches done, and at the end. On [`Flow::Stop`] the work ends with
    /// [`Error::Stopped`].
    fn step(&mut self, done: u64, total: u64) -> Flow;
}

/// Whether work goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// Nobody wants the result any more.
    Stop,
}

/// Nobody watches: the work is done to its end.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Control for Unwatched {
    fn step(&mut self, _: u64, _: u64) -> Flow {
        Flow::Continue
    }
}

/// One way to compute a network. Between `begin` and `update` nothing else may be called but `learn`.
trait Execution: Send {
    /// Takes the model's parameters; the optimiser's state begins anew.
    fn begin(&mut self, model: &Parameters) -> Result<(), Error>;

    /// One step on these examples of the data set; returns the mean loss before the step.
    fn learn(
        &mut self,
        dataset: &Dataset,
        indices: &[u32],
        dropout: &mut tributary_common::rng::Stream,
        tally: Option<&mut tally::Tally>,
    ) -> Result<f64, Error>;

    /// Adds what the network predicts of these examples.
    fn predict(&mut self, dataset: &Dataset, indices: &[u32], tally: &mut tally::Tally) -> Result<(), Error>;

    /// The difference to `model`, and whether all of it is finite.
    fn update(&self, model: &Parameters) -> Result<(Parameters, bool), Error>;
}
