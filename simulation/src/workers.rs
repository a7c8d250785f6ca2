//! A pool of threads, one trainer each, kept alive for the whole run.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use tributary_client::data::Dataset;
use tributary_client::trainer::{Control, Examples, Flow, Task, Trained, Trainer};
use tributary_common::id::{ClientId, Round};
use tributary_common::metrics::Metrics;
use tributary_common::parameters::Parameters;

/// What a piece of work is called; results are asked for by it.
pub(crate) type Key = u64;

pub(crate) enum Work<'a> {
    Measure { model: Parameters, dataset: &'a Dataset, indices: Vec<u32> },
    Train { round: Round, client: ClientId, model: Parameters, dataset: &'a Dataset, indices: Vec<u32> },
}

pub(crate) enum Outcome {
    Measured(Metrics),
    Trained(Box<Trained>),
}

/// Work goes in, in order; outcomes are waited for by key. The queue is bounded by the cohort: every piece is asked for.
pub(crate) struct Pool<'a> {
    queue: Sender<(Key, Work<'a>)>,
    outcomes: Receiver<(Key, Result<Outcome, String>)>,
    early: BTreeMap<Key, Result<Outcome, String>>,
    next: Key,
}

impl<'a> Pool<'a> {
    /// Starts `count` workers in `scope`; they end when the pool is dropped. `stopped` is looked at in every batch.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        trainers: Vec<Box<dyn Trainer>>,
        stopped: &'scope (dyn Fn() -> bool + Sync),
    ) -> Self
    where
        'a: 'scope,
    {
        let (sender, receiver) = channel::<(Key, Work<'a>)>();
        let queue = Arc::new(Mutex::new(receiver));
        let (outbox, outcomes) = channel();
        for mut trainer in trainers {
            let (outbox, queue) = (outbox.clone(), Arc::clone(&queue));
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((key, work)) = next else { return };
                    let outcome = perform(&mut *trainer, work, stopped);
                    if outbox.send((key, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        Self { queue: sender, outcomes, early: BTreeMap::new(), next: 0 }
    }

    /// Puts a piece of work in the queue.
    pub(crate) fn submit(&mut self, work: Work<'a>) -> Key {
        let key = self.next;
        self.next += 1;
        self.queue.send((key, work)).expect("workers live as long as the pool");
        key
    }

    /// Waits for the outcome of `key`, which is asked for once.
    pub(crate) fn wait(&mut self, key: Key) -> Result<Outcome, String> {
        if let Some(outcome) = self.early.remove(&key) {
            return outcome;
        }
        loop {
            let (done, outcome) = self.outcomes.recv().map_err(|_| "a worker has ended".to_owned())?;
            if done == key {
                return outcome;
            }
            self.early.insert(done, outcome);
        }
    }
}

fn perform(trainer: &mut dyn Trainer, work: Work<'_>, stopped: &dyn Fn() -> bool) -> Result<Outcome, String> {
    let mut control = Stop(stopped);
    match work {
        Work::Measure { model, dataset, indices } => {
            let examples = Examples { dataset, indices: &indices };
            trainer.evaluate(&model, &examples, &mut control).map(Outcome::Measured)
        }
        Work::Train { round, client, model, dataset, indices } => {
            let examples = Examples { dataset, indices: &indices };
            let task = Task { round, client: &client, model: &model, examples };
            trainer.train(&task, &mut control).map(|trained| Outcome::Trained(Box::new(trained)))
        }
    }
    .map_err(|error| error.to_string())
}

struct Stop<'a>(&'a dyn Fn() -> bool);

impl Control for Stop<'_> {
    fn step(&mut self, _: u64, _: u64) -> Flow {
        if (self.0)() { Flow::Stop } else { Flow::Continue }
    }
}
