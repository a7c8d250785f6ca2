//! A pool of threads, one trainer each, kept alive for the whole run.
//!
//! Training comes before measuring: the round waits for it, and measuring fills the time in which a thread would have
//! nothing left to train. Longest training comes first, so that threads end together. Whatever a result still needs is
//! done by the thread that has it, so that the event loop only passes it on.
//!
//! Trainers that take several clients at once get groups (see [`crate::groups`]), others one client at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use tributary_client::data::Dataset;
use tributary_client::plan::Plan;
use tributary_client::trainer::{Control, Examples, Flow, Task, Trained, Trainer};
use tributary_common::Digest;
use tributary_common::id::{ClientId, Round};
use tributary_common::metrics::Metrics;
use tributary_common::parameters::Parameters;
use tributary_common::time::Time;
use tributary_coordinator::screen::Screen;

use crate::groups::{Groups, Piece};

/// What a piece of work is called; results are asked for by it.
pub(crate) type Key = u64;

/// Updates that may lie finished before the event loop takes them, in bytes: what training the longest first may cost in
/// memory. Beyond it work is done in the order in which it is asked for.
const EARLY_BYTES: usize = 64 << 20;

/// A model to be measured on examples.
pub(crate) struct Measure<'a> {
    pub(crate) model: Parameters,
    pub(crate) dataset: &'a Dataset,
    pub(crate) indices: Vec<u32>,
}

/// A client's work in a round, and when its result is asked for.
pub(crate) struct Train<'a> {
    pub(crate) due: Time,
    pub(crate) round: Round,
    pub(crate) client: ClientId,
    pub(crate) model: Parameters,
    pub(crate) dataset: &'a Dataset,
    pub(crate) indices: Vec<u32>,
}

/// An update as it leaves a client, and what its receiver computes of it.
pub(crate) struct Sealed {
    pub(crate) update: Parameters,
    pub(crate) examples: u64,
    pub(crate) digest: Digest,
    /// Or why it cannot count.
    pub(crate) norm: Result<f64, String>,
}

pub(crate) enum Outcome {
    Measured(Metrics),
    Trained(Box<Sealed>),
}

enum Work<'a> {
    Measure(Key, Measure<'a>),
    /// At least one client; they are trained together.
    Train(Vec<(Key, Train<'a>)>),
}

/// Work goes in; outcomes are waited for by key. The queue is bounded by the cohort: every piece is asked for.
pub(crate) struct Pool<'a> {
    queue: Arc<Queue<'a>>,
    groups: Groups<Train<'a>>,
    outcomes: Receiver<(Key, Result<Outcome, String>)>,
    early: BTreeMap<Key, Result<Outcome, String>>,
    next: Key,
}

impl<'a> Pool<'a> {
    /// Starts `count` workers in `scope`; they end when the pool is dropped. `stopped` is looked at in every batch.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        trainers: Vec<Box<dyn Trainer>>,
        plan: &'scope Plan,
        stopped: &'scope (dyn Fn() -> bool + Sync),
    ) -> Self
    where
        'a: 'scope,
    {
        let together = trainers.iter().map(|trainer| trainer.clients()).min().unwrap_or(1);
        let at_once = EARLY_BYTES / plan.model.layout.bytes().max(1);
        let early_max = at_once.max(2 * trainers.len() * together);
        let queue = Arc::new(Queue { waiting: Mutex::new(Waiting::new(early_max)), changed: Condvar::new() });
        let (outbox, outcomes) = channel();
        for mut trainer in trainers {
            let (outbox, queue) = (outbox.clone(), Arc::clone(&queue));
            scope.spawn(move || {
                while let Some(work) = queue.take() {
                    for done in perform(&mut *trainer, plan, work, stopped) {
                        if outbox.send(done).is_err() {
                            return;
                        }
                    }
                }
            });
        }
        Self { queue, groups: Groups::new(together, at_once), outcomes, early: BTreeMap::new(), next: 0 }
    }

    /// Puts measuring in the queue.
    pub(crate) fn measure(&mut self, measure: Measure<'a>) -> Key {
        let key = self.key();
        self.submit(Work::Measure(key, measure));
        key
    }

    /// Puts training in the queue, or among those that wait for others to be trained with.
    pub(crate) fn train(&mut self, train: Train<'a>) -> Key {
        let key = self.key();
        if let Some(alone) = self.groups.add(key, train) {
            self.submit(Work::Train(vec![alone]));
        }
        key
    }

    fn key(&mut self) -> Key {
        self.next += 1;
        self.next - 1
    }

    fn submit(&self, work: Work<'a>) {
        self.queue.lock().put(work);
        self.queue.changed.notify_one();
    }

    /// Waits for the outcome of `key`, which is asked for once.
    pub(crate) fn wait(&mut self, key: Key) -> Result<Outcome, String> {
        for group in self.groups.form(key) {
            self.submit(Work::Train(group));
        }
        let outcome = loop {
            if let Some(outcome) = self.early.remove(&key) {
                break outcome;
            }
            let (done, outcome) = self.outcomes.recv().map_err(|_| "a worker has ended".to_owned())?;
            self.early.insert(done, outcome);
        };
        self.queue.lock().early.remove(&key);
        outcome
    }
}

impl Drop for Pool<'_> {
    /// Workers that wait for work end.
    fn drop(&mut self) {
        self.queue.lock().is_open = false;
        self.queue.changed.notify_all();
    }
}

/// What waits for a worker, and the signal that something came.
struct Queue<'a> {
    waiting: Mutex<Waiting<'a>>,
    changed: Condvar,
}

impl<'a> Queue<'a> {
    fn lock(&self) -> MutexGuard<'_, Waiting<'a>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of work; none when the pool is gone.
    fn take(&self) -> Option<Work<'a>> {
        let mut waiting = self.lock();
        loop {
            if !waiting.is_open {
                return None;
            }
            if let Some(next) = waiting.next() {
                return Some(next);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Work in its two orders: as it is asked for, and by length.
struct Waiting<'a> {
    measures: VecDeque<(Key, Measure<'a>)>,
    /// Groups, each by its first client.
    trains: BTreeMap<(Time, Key), Vec<(Key, Train<'a>)>>,
    longest: BTreeSet<(Reverse<usize>, Time, Key)>,
    /// Trained or being trained, and not yet taken by the event loop.
    early: BTreeSet<Key>,
    early_max: usize,
    is_open: bool,
}

impl<'a> Waiting<'a> {
    fn new(early_max: usize) -> Self {
        Self {
            measures: VecDeque::new(),
            trains: BTreeMap::new(),
            longest: BTreeSet::new(),
            early: BTreeSet::new(),
            early_max,
            is_open: true,
        }
    }

    fn put(&mut self, work: Work<'a>) {
        match work {
            Work::Measure(key, measure) => self.measures.push_back((key, measure)),
            Work::Train(group) => {
                let Some((due, key)) = group.iter().map(|(key, train)| (train.due, *key)).min() else { return };
                self.longest.insert((Reverse(longest(&group)), due, key));
                self.trains.insert((due, key), group);
            }
        }
    }

    fn next(&mut self) -> Option<Work<'a>> {
        let place = if self.early.len() < self.early_max {
            self.longest.first().map(|&(_, due, key)| (due, key))
        } else {
            // The event loop waits for the first of these, so what lies finished does not grow without end.
            self.trains.first_key_value().map(|(place, _)| *place)
        };
        let Some((due, key)) = place else {
            return self.measures.pop_front().map(|(key, measure)| Work::Measure(key, measure));
        };
        let group = self.trains.remove(&(due, key)).expect("both orders hold the same work");
        self.longest.remove(&(Reverse(longest(&group)), due, key));
        self.early.extend(group.iter().map(|(key, _)| *key));
        Some(Work::Train(group))
    }
}

/// Examples of the longest work in a group, which the others wait for.
fn longest(group: &[(Key, Train<'_>)]) -> usize {
    group.iter().map(|(_, train)| train.indices.len()).max().unwrap_or_default()
}

fn perform(
    trainer: &mut dyn Trainer,
    plan: &Plan,
    work: Work<'_>,
    stopped: &dyn Fn() -> bool,
) -> Vec<(Key, Result<Outcome, String>)> {
    let mut control = Stop(stopped);
    match work {
        Work::Measure(key, Measure { model, dataset, indices }) => {
            let examples = Examples { dataset, indices: &indices };
            let measured = trainer.evaluate(&model, &examples, &mut control).map(Outcome::Measured);
            vec![(key, measured.map_err(|error| error.advice()))]
        }
        Work::Train(group) => {
            let tasks: Vec<_> = group.iter().map(|(_, train)| train.task()).collect();
            let trained = trainer.train_all(&tasks, &mut control);
            let sealed = trained.into_iter().map(|trained| trained.map(|trained| seal(plan, trained)));
            let keys = group.iter().map(|(key, _)| *key);
            keys.zip(sealed.map(|sealed| sealed.map_err(|error| error.advice()))).collect()
        }
    }
}

impl Piece for Train<'_> {
    fn due(&self) -> Time {
        self.due
    }

    fn examples(&self) -> usize {
        self.indices.len()
    }
}

impl Train<'_> {
    fn task(&self) -> Task<'_> {
        let examples = Examples { dataset: self.dataset, indices: &self.indices };
        Task { round: self.round, client: &self.client, model: &self.model, examples }
    }
}

/// What the client does to its update, and its receiver with it.
fn seal(plan: &Plan, trained: Trained) -> Outcome {
    let update = plan.stages.seal(trained.update);
    let mut screen = Screen::new(Arc::clone(update.layout()), &plan.stages);
    let taken = screen.take(update.bytes());
    let (digest, norm) = screen.finish();
    let norm = taken.map(|()| norm);
    Outcome::Trained(Box::new(Sealed { update, examples: trained.weight, digest, norm }))
}

struct Stop<'a>(&'a dyn Fn() -> bool);

impl Control for Stop<'_> {
    fn step(&mut self, _: u64, _: u64) -> Flow {
        if (self.0)() { Flow::Stop } else { Flow::Continue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_client::data::{Features, Labels};
    use tributary_client::plan::Plan;
    use tributary_common::config::Document;

    fn plan() -> Plan {
        let text = "input = { shape = [1] }\nmodel = { layers = [{ kind = 'linear', out = 1 }] }\n\
                    train = { loss = 'mse', optimizer = { kind = 'sgd', lr = 1 }, steps = 1, batch = 1 }";
        Plan::parse(&Document::parse("w.toml", text).unwrap()).unwrap()
    }

    fn dataset(plan: &Plan) -> Dataset {
        let labels = Labels::Targets(vec![0.0; 8]);
        Dataset::new("zeros", &plan.input, Features::Reals(vec![0.0; 8]), labels, Vec::new()).unwrap()
    }

    fn train<'a>(plan: &Plan, dataset: &'a Dataset, due: u64, (key, len): (Key, u32)) -> Work<'a> {
        let train = Train {
            due: Time(due),
            round: Round(1),
            client: ClientId::simulated(0, 1),
            model: Parameters::zeros(Arc::clone(&plan.model.layout)),
            dataset,
            indices: (0..len).collect(),
        };
        Work::Train(vec![(key, train)])
    }

    fn keys(work: &Work<'_>) -> Vec<Key> {
        match work {
            Work::Measure(key, _) => vec![*key],
            Work::Train(group) => group.iter().map(|(key, _)| *key).collect(),
        }
    }

    fn order(waiting: &mut Waiting<'_>) -> Vec<Key> {
        std::iter::from_fn(|| waiting.next()).flat_map(|work| keys(&work)).collect()
    }

    /// Without it the round would end with one thread at work on the largest client and the others idle.
    #[test]
    fn longest_training_comes_first_and_measuring_last() {
        let plan = plan();
        let dataset = dataset(&plan);
        let mut waiting = Waiting::new(10);
        let model = Parameters::zeros(Arc::clone(&plan.model.layout));
        waiting.put(Work::Measure(0, Measure { model, dataset: &dataset, indices: vec![0] }));
        for piece in [(1, 3), (2, 8), (3, 3), (4, 5)] {
            waiting.put(train(&plan, &dataset, 0, piece));
        }
        assert_eq!(order(&mut waiting), [2, 4, 1, 3, 0]);
    }

    /// Without it a large cohort's updates would all lie in memory while the smallest client, asked for first, waits.
    #[test]
    fn beyond_the_limit_work_is_done_in_the_order_in_which_it_is_asked_for() {
        let plan = plan();
        let dataset = dataset(&plan);
        let mut waiting = Waiting::new(2);
        for (key, due, len) in [(0, 1, 1), (1, 2, 2), (2, 3, 3), (3, 4, 4), (4, 5, 5)] {
            waiting.put(train(&plan, &dataset, due, (key, len)));
        }
        let first: Vec<_> = (0..3).flat_map(|_| keys(&waiting.next().unwrap())).collect();
        assert_eq!(first, [4, 3, 0], "the two longest, then what is due first");
        waiting.early.clear();
        assert_eq!(order(&mut waiting), [2, 1]);
    }

    /// A group that waited for its first member's turn would keep everyone who waits for another member waiting.
    #[test]
    fn a_group_comes_in_the_place_of_its_first_and_with_the_length_of_its_longest() {
        let plan = plan();
        let dataset = dataset(&plan);
        let of = |pieces: &[(Key, u32, u64)]| {
            let group = pieces.iter().map(|&(key, len, due)| match train(&plan, &dataset, due, (key, len)) {
                Work::Train(mut group) => group.remove(0),
                Work::Measure(..) => unreachable!("it was training"),
            });
            Work::Train(group.collect())
        };
        for (early_max, expected) in [(10, [3, 1, 4, 2, 0]), (0, [4, 2, 3, 1, 0])] {
            let mut waiting = Waiting::new(early_max);
            waiting.put(of(&[(4, 4, 9), (2, 5, 1)]));
            waiting.put(of(&[(0, 1, 3)]));
            waiting.put(of(&[(3, 8, 4), (1, 2, 2)]));
            assert_eq!(order(&mut waiting), expected);
        }
    }
}
