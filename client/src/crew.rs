//! The worker behind an agent: reads the plan, loads what the client has, trains and measures with our own trainer.

use std::sync::Arc;

use tributary_common::config::Document;
use tributary_common::id::{ClientId, Round};
use tributary_common::identity::Role;
use tributary_common::message::{Ready, Results};
use tributary_common::parameters::Parameters;

use crate::agent::{Prepared, Update, Watch, Worker};
use crate::data::Dataset;
use crate::device::Device;
use crate::plan::{Plan, holdout};
use crate::trainer::{Control, Examples, Flow, Local, Task, Trainer, evaluate_in_pieces};

/// What a client holds: a data set and which of its examples.
#[derive(Clone, Debug)]
pub struct Held {
    /// The examples.
    pub dataset: Arc<Dataset>,
    /// Which of them are this client's.
    pub indices: Vec<u32>,
}

impl Held {
    /// All examples of a data set.
    #[must_use]
    pub fn all(dataset: Dataset) -> Self {
        let indices = (0..u32::try_from(dataset.len()).expect("data sets are below 2^32")).collect();
        Self { dataset: Arc::new(dataset), indices }
    }
}

/// Loads what a client holds, once the plan says what an example is.
pub type Load = Box<dyn FnMut(&Plan) -> Result<Held, String> + Send>;

/// Makes the trainer of a plan.
pub type MakeTrainer = Box<dyn FnMut(&Arc<Plan>) -> Box<dyn Trainer> + Send>;

/// A client's or evaluator's worker.
pub struct Crew {
    name: ClientId,
    role: Role,
    load: Load,
    make: MakeTrainer,
    at_work: Option<AtWork>,
}

struct AtWork {
    plan: Arc<Plan>,
    trainer: Box<dyn Trainer>,
    dataset: Arc<Dataset>,
    train: Vec<u32>,
    held_out: Vec<u32>,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crew({} {})", self.role, self.name)
    }
}

impl Crew {
    /// A worker that trains with our own trainer, on this machine's cores.
    #[must_use]
    pub fn new(name: ClientId, role: Role, load: Load) -> Self {
        Self::on(Device::cpu(), name, role, load)
    }

    /// The same on `device`.
    #[must_use]
    pub fn on(device: Device, name: ClientId, role: Role, load: Load) -> Self {
        let make: MakeTrainer = Box::new(move |plan| Box::new(Local::on(&device, Arc::clone(plan))));
        Self::with_trainer(name, role, load, make)
    }

    /// A worker that trains with one's own trainer.
    #[must_use]
    pub fn with_trainer(name: ClientId, role: Role, load: Load, make: MakeTrainer) -> Self {
        Self { name, role, load, make, at_work: None }
    }

    /// Reads a plan and the data, and says what this client would bring: the work of [`Worker::prepare`] without a
    /// coordinator.
    ///
    /// # Errors
    /// Why the data do not fit.
    pub fn check(&mut self, plan: Plan) -> Result<Prepared, String> {
        let plan = Arc::new(plan);
        let held = (self.load)(&plan)?;
        let classes = plan.input.classes.as_ref().map_or(0, |classes| classes.count());
        if held.dataset.shape() != plan.input.shape {
            let (found, expected) = (held.dataset.shape(), &plan.input.shape);
            return Err(format!("an example has the shape {found:?}, the run's model takes {expected:?}"));
        }
        if held.dataset.n_classes() != classes {
            let found = held.dataset.n_classes();
            return Err(format!("the data have {found} classes, the run has {classes}"));
        }
        if held.indices.is_empty() {
            return Err("there is no example".to_owned());
        }
        let (train, held_out) = if self.role == Role::Evaluator {
            (Vec::new(), held.indices)
        } else {
            let split = holdout::split(&held.indices, plan.holdout, plan.seed, &self.name);
            (split.train, split.held_out)
        };
        let ready = Ready { examples: train.len() as u64, holdout: held_out.len() as u64 };
        let layout = Arc::clone(&plan.model.layout);
        let trainer = (self.make)(&plan);
        self.at_work = Some(AtWork { plan, trainer, dataset: held.dataset, train, held_out });
        Ok(Prepared { ready, layout })
    }
}

impl Worker for Crew {
    fn prepare(&mut self, plan: &str) -> Result<Prepared, String> {
        let document = Document::parse("plan", plan).map_err(|error| error.to_string())?;
        let plan =
            Plan::parse(&document).map_err(|error| format!("this client does not understand the plan: {error}"))?;
        self.check(plan)
    }

    fn train(&mut self, round: Round, model: &Parameters, watch: &mut dyn Watch) -> Result<Update, String> {
        let work = self.at_work.as_mut().ok_or_else(not_prepared)?;
        let examples = Examples { dataset: &work.dataset, indices: &work.train };
        let task = Task { round, client: &self.name, model, examples };
        let trained = work.trainer.train(&task, &mut Watched(watch)).map_err(|error| error.advice())?;
        Ok(Update { update: work.plan.stages.seal(trained.update), weight: trained.weight })
    }

    fn evaluate(&mut self, model: &Parameters, watch: &mut dyn Watch) -> Result<Results, String> {
        let work = self.at_work.as_mut().ok_or_else(not_prepared)?;
        let (on, role) = (work.plan.evaluate_on, self.role);
        let (trainer, dataset) = (&mut work.trainer, &work.dataset);
        let mut measure = |is_wanted: bool, indices: &[u32]| {
            if !is_wanted || indices.is_empty() {
                return Ok(None);
            }
            let examples = Examples { dataset, indices };
            evaluate_in_pieces(&mut **trainer, model, &examples, &mut Watched(watch))
                .map(Some)
                .map_err(|error| error.advice())
        };
        let is_evaluator = role == Role::Evaluator;
        Ok(Results {
            train: measure(on.train && !is_evaluator, &work.train)?,
            local: measure(on.local && !is_evaluator, &work.held_out)?,
            central: measure(on.central && is_evaluator, &work.held_out)?,
        })
    }
}

fn not_prepared() -> String {
    "work came before the plan".to_owned()
}

/// An agent's watch as a trainer's control.
struct Watched<'a>(&'a mut dyn Watch);

impl Control for Watched<'_> {
    fn step(&mut self, done: u64, total: u64) -> Flow {
        if self.0.goes_on(done, total) { Flow::Continue } else { Flow::Stop }
    }
}
