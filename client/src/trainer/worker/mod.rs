//! The worker of a client or an evaluator of its own: reads the plan, loads the examples, trains and measures.
//!
//! It joins a [`Trainer`], which knows nothing of roles and stages, to the agent, which knows nothing of examples.

mod holdings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use tributary_common::config::Document;
use tributary_common::id::{ClientId, Round};
use tributary_common::identity::Role;
use tributary_common::message::{Ready, Results};
use tributary_common::metrics::Metrics;
use tributary_common::parameters::Parameters;

pub use holdings::{Holdings, Share};

use super::{Control, Error, Examples, Flow, Local, Task, Trainer};
use crate::agent::{Prepared, Update, Watch, Worker};
use crate::data::Dataset;
use crate::plan::holdout::{self, Split};
use crate::plan::{HOLDOUT_MAX, Plan};

/// Makes a trainer for a plan: once a run.
pub type Make = Box<dyn FnMut(&Arc<Plan>) -> Result<Box<dyn Trainer>, Error> + Send>;

/// Trains and measures on its own examples. What it holds out it never trains on.
pub struct LocalWorker {
    name: ClientId,
    role: Role,
    holdings: Holdings,
    /// In place of the plan's, which a plan that travelled does not carry.
    holdout: Option<f64>,
    make: Make,
    ground: Option<Ground>,
}

/// What a plan and the examples make together.
struct Ground {
    plan: Arc<Plan>,
    data: Arc<Dataset>,
    split: Split,
    trainer: Box<dyn Trainer>,
}

/// Names only: examples are private.
impl fmt::Debug for LocalWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalWorker({}, {:?}, {:?})", self.name, self.role, self.holdings)
    }
}

impl LocalWorker {
    /// A worker with our own trainer. `role` is a client's or an evaluator's; `holdout` is the share of its examples that
    /// a client holds out, from 0 to 0.9, in place of the plan's.
    #[must_use]
    pub fn new(name: ClientId, role: Role, holdings: Holdings, holdout: Option<f64>) -> Self {
        Self::with_trainer(name, role, holdings, holdout, Box::new(|plan| Ok(Box::new(Local::new(Arc::clone(plan))))))
    }

    /// The same with a trainer of one's own.
    #[must_use]
    pub fn with_trainer(name: ClientId, role: Role, holdings: Holdings, holdout: Option<f64>, make: Make) -> Self {
        Self { name, role, holdings, holdout, make, ground: None }
    }

    /// Which rows it trains on and which it measures on; an evaluator trains on none.
    fn split(&self, rows: Vec<u32>, plan: &Plan) -> Result<Split, String> {
        let share = self.holdout.unwrap_or(plan.holdout);
        match self.role {
            Role::Client if (0.0..=HOLDOUT_MAX).contains(&share) => {
                Ok(holdout::split(&rows, share, plan.seed, &self.name))
            }
            Role::Client => Err(format!("could not hold out a share of {share}: it is not from 0 to {HOLDOUT_MAX}")),
            Role::Coordinator => Err("could not prepare: a coordinator has no examples".to_owned()),
            Role::Evaluator => Ok(Split { train: Vec::new(), held_out: rows }),
        }
    }

    fn ground(&mut self) -> Result<&mut Ground, String> {
        self.ground.as_mut().ok_or_else(|| "could not begin: no plan was prepared".to_owned())
    }
}

impl Worker for LocalWorker {
    fn prepare(&mut self, plan: &str) -> Result<Prepared, String> {
        // What was prepared for another run is let go before examples are loaded again.
        self.ground = None;
        let plan = Document::parse("plan", plan).and_then(|document| Plan::parse(&document));
        let plan = Arc::new(plan.map_err(|error| with_hint(&error.to_string(), error.hint()))?);
        let (data, rows) = self.holdings.load(&plan)?;
        check(&data, &rows, &plan)?;
        let split = self.split(rows, &plan)?;
        let trainer = (self.make)(&plan).map_err(|error| said(&error))?;
        let ready = Ready { examples: split.train.len() as u64, holdout: split.held_out.len() as u64 };
        let layout = Arc::clone(&plan.model.layout);
        self.ground = Some(Ground { plan, data, split, trainer });
        Ok(Prepared { ready, layout })
    }

    fn train(&mut self, round: Round, model: &Parameters, watch: &mut dyn Watch) -> Result<Update, String> {
        let client = self.name.clone();
        let Ground { plan, data, split, trainer } = self.ground()?;
        let examples = Examples { dataset: data, indices: &split.train };
        let task = Task { round, client: &client, model, examples };
        let trained = trainer.train(&task, &mut Watched(watch)).map_err(|error| said(&error))?;
        Ok(Update { update: plan.stages.seal(trained.update), weight: trained.weight, metrics: trained.metrics })
    }

    fn evaluate(&mut self, model: &Parameters, watch: &mut dyn Watch) -> Result<Results, String> {
        let role = self.role;
        let ground = self.ground()?;
        let on = ground.plan.evaluate_on;
        Ok(match role {
            Role::Client | Role::Coordinator => Results {
                train: ground.measure(on.train, Side::Train, model, watch)?,
                local: ground.measure(on.local, Side::HeldOut, model, watch)?,
                central: None,
            },
            Role::Evaluator => {
                Results { central: ground.measure(on.central, Side::HeldOut, model, watch)?, ..Results::default() }
            }
        })
    }
}

/// Which of its examples a worker measures on.
#[derive(Clone, Copy)]
enum Side {
    HeldOut,
    Train,
}

impl Ground {
    /// What was asked for. Nothing to measure on is no failure: who is too small to hold anything out still trains.
    fn measure(
        &mut self,
        is_asked: bool,
        side: Side,
        model: &Parameters,
        watch: &mut dyn Watch,
    ) -> Result<Option<Metrics>, String> {
        let Self { data, split, trainer, .. } = self;
        let indices = match side {
            Side::HeldOut => &split.held_out,
            Side::Train => &split.train,
        };
        if !is_asked || indices.is_empty() {
            return Ok(None);
        }
        let examples = Examples { dataset: data, indices };
        trainer.evaluate(model, &examples, &mut Watched(watch)).map(Some).map_err(|error| said(&error))
    }
}

/// The agent's watch as a trainer's control.
struct Watched<'a>(&'a mut dyn Watch);

impl Control for Watched<'_> {
    fn step(&mut self, done: u64, total: u64) -> Flow {
        if self.0.goes_on(done, total) { Flow::Continue } else { Flow::Stop }
    }
}

/// Examples that are not the plan's are refused when the client joins, not in the first round.
fn check(data: &Dataset, rows: &[u32], plan: &Plan) -> Result<(), String> {
    let classes = plan.input.classes.as_ref().map_or(0, |classes| classes.count());
    if data.shape() != plan.input.shape || data.n_classes() != classes {
        let (shape, found, expected) = (data.shape(), data.n_classes(), &plan.input.shape);
        let differ = format!("{shape:?} in {found} classes are there, {expected:?} in {classes} classes are needed");
        return Err(said(&Error::ExamplesDiffer(differ)));
    }
    if rows.is_empty() {
        return Err(said(&Error::NoExamples));
    }
    match rows.iter().find(|&&row| row as usize >= data.len()) {
        Some(row) => Err(format!("could not use row {row}, counted from 0: there are {}", data.len())),
        None => Ok(()),
    }
}

fn said(error: &Error) -> String {
    with_hint(&error.to_string(), error.hint())
}

/// A problem and what to do as one text, which travels to the coordinator's operator.
fn with_hint(problem: &str, hint: Option<&str>) -> String {
    hint.map_or_else(|| problem.to_owned(), |hint| format!("{problem} ({hint})"))
}
