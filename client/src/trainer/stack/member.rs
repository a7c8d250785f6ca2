//! One client of a stack: which examples its steps see, what was counted of it, and how its training ended.

use tributary_common::rng::{self, Purpose, Stream};

use crate::layer::Element;
use crate::loss::Truth;
use crate::plan::Plan;
use crate::trainer::batches::Batches;
use crate::trainer::tally::Tally;
use crate::trainer::{Error, Task, Trained};

/// A client at work.
pub(super) struct Member<'a> {
    pub(super) task: &'a Task<'a>,
    /// Which of the tasks that was.
    pub(super) index: usize,
    /// Over places among the examples of the whole stack.
    batches: Batches,
    /// Where this client's examples begin there.
    start: u32,
    pub(super) dropout: Stream,
    tally: Option<Tally>,
    failure: Option<Error>,
}

impl<'a> Member<'a> {
    /// The streams are those of a client that trains alone.
    pub(super) fn new(plan: &Plan, (index, task): (usize, &'a Task<'a>), start: u32) -> Self {
        let stream = |purpose| rng::stream(plan.seed, task.round, Some(task.client), purpose);
        let places: Vec<u32> = (start..).take(task.examples.indices.len()).collect();
        let batches = Batches::new(&plan.train, &places, stream(Purpose::Batches));
        let (dropout, tally) = (stream(Purpose::Dropout), Tally::new(&plan.input).ok());
        Self { task, index, batches, start, dropout, tally, failure: None }
    }

    /// How many steps it takes in all.
    pub(super) const fn steps(&self) -> u64 {
        self.batches.steps()
    }

    /// The places of the next batch's examples, and what is true of them.
    pub(super) fn next<T: Element>(&mut self) -> (Vec<u32>, Truth<T>) {
        let places = self.batches.next().to_vec();
        let examples = self.task.examples;
        let indices: Vec<u32> = places.iter().map(|place| examples.indices[(place - self.start) as usize]).collect();
        let mut truth = Truth::none();
        truth.gather(examples.dataset, &indices);
        (places, truth)
    }

    /// Whether its training has ended before its last step.
    pub(super) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Counts what was predicted before step `step`, counted from 1; as for a client alone, nothing counts after a loss that
    /// is not finite.
    pub(super) fn count<T: Element>(&mut self, plan: &Plan, step: u64, predicted: &[T], truth: &Truth<T>) {
        if self.has_failed() {
            return;
        }
        let loss = plan.train.loss.score(plan.model.outputs(), predicted, truth, None);
        let counted = self.tally.as_mut().map_or(Ok(()), |tally| tally.add(predicted, truth, loss));
        self.failure = match counted {
            Err(error) => Some(error.into()),
            Ok(()) if !loss.is_finite() => Some(Error::NonFinite { step, what: "the loss".to_owned() }),
            Ok(()) => None,
        };
    }

    /// What comes of it, given its last parameters' difference to its model's.
    pub(super) fn end(&mut self, update: tributary_common::parameters::Parameters) -> Result<Trained, Error> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let steps = self.steps();
        if let Some(tensor) = update.non_finite_tensor() {
            return Err(Error::NonFinite { step: steps, what: format!("tensor `{tensor}`") });
        }
        let (weight, metrics) = (self.task.examples.indices.len() as u64, self.tally.take().map(Tally::into_metrics));
        Ok(Trained { update, weight, metrics, steps })
    }
}
