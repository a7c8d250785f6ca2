//! A run to simulate, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tributary_client::plan::Plan;
use tributary_client::trainer::Trainer;
use tributary_common::Digest;
use tributary_common::config::{self, Document};
use tributary_common::event::Event as Line;
use tributary_common::id::RunId;
use tributary_common::model::initial;
use tributary_common::parameters::Parameters;
use tributary_coordinator::aggregate;
use tributary_coordinator::optimize::Optimizer;
use tributary_coordinator::round::Reason;
use tributary_coordinator::store::{self, Journal, Past, Store};
use tributary_coordinator::{Strategy, Threads};

use crate::workers::Pool;
use crate::world::World;
use crate::{Population, Settings};

/// A run that cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Updates cannot be combined.
    #[error("could not combine the updates: {0}")]
    Aggregate(#[from] aggregate::Error),
}

/// A run to simulate.
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What the coordinator does.
    pub strategy: Strategy,
    /// What the clients do.
    pub plan: Arc<Plan>,
    /// Network and devices.
    pub settings: Settings,
    /// Who has which examples.
    pub population: Population,
    /// Digest of the configuration.
    pub config: Digest,
    /// The model to start from.
    pub model: Parameters,
    /// The server optimiser's state.
    pub optimizer: Optimizer,
    /// What an earlier process left; nothing for a new run.
    pub past: Past,
    /// Where versions and events are kept.
    pub store: Arc<dyn Store>,
    /// Where rows are kept, if they are. It gets whole rounds only, without their updates: what a process leaves undone of a
    /// round, the next one computes again.
    pub journal: Option<Journal>,
}

impl Run {
    /// A new run of a run file over `population`, from the model that its seed draws. `model.from` is not read: who has
    /// such a file sets `model` to what is in it.
    ///
    /// # Errors
    /// What is wrong with the run file, where, and what to do.
    pub fn new(
        id: RunId,
        document: &Document,
        population: Population,
        store: Arc<dyn Store>,
    ) -> Result<Self, config::Error> {
        let strategy = Strategy::parse(document)?;
        let plan = Arc::new(Plan::parse(document)?);
        let settings = Settings::parse(document.table().section("sim")?)?;
        let model = initial::parameters(&strategy.model, strategy.rounds.seed);
        let optimizer = Optimizer::new(strategy.optimizer, model.layout().count());
        let config = document.digest();
        let past = Past::default();
        Ok(Self { id, strategy, plan, settings, population, config, model, optimizer, past, store, journal: None })
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({} {})", self.strategy.name, self.id)
    }
}

/// How a simulated run ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// The last version.
    pub model: Parameters,
    /// The central accuracy of the last measured round.
    pub central_accuracy: Option<f64>,
}

/// Simulates `run` to its end, one thread for each of `trainers`. `clock` tells the real time since the start, for people
/// only: where the network and the devices are ideal, the lines of rounds show it. `stop` suspends the run.
///
/// # Errors
/// The store failed.
pub fn simulate(
    mut run: Run,
    trainers: Vec<Box<dyn Trainer>>,
    stop: &AtomicBool,
    clock: &dyn Fn() -> Duration,
    tell: &mut dyn FnMut(&Line),
) -> Result<Ended, Error> {
    let journal = run.journal.take();
    let run = &run;
    let ended = AtomicBool::new(false);
    let stopped = || stop.load(Ordering::Relaxed) || ended.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        let threads = Threads::new(trainers.len());
        let pool = Pool::start(scope, trainers, &run.plan, &stopped);
        let mut world = World::new(run, journal, pool, threads, clock, tell)?;
        let result = world.play(stop);
        // Work that nobody waits for any more ends at its next batch, so that the scope can end.
        ended.store(true, Ordering::Relaxed);
        result
    })
}
