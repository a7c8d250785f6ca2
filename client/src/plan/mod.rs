//! What a client is asked to do, read from a run file or from the canonical plan that a coordinator sends.
//!
//! Deliberately not here: rounds, cohorts and aggregation, which are the coordinator's, and where data come from.

pub mod holdout;

use tributary_common::config::{Document, Error, Item, Table, choose};
use tributary_common::id::Seed;
use tributary_common::model::{Input, Model};
use tributary_common::parameters::Dtype;
use tributary_common::stage::Pipeline;

use crate::loss::{self, Loss};
use crate::optimizer::{self, Optimizer};

/// The most steps of one round at one client.
pub const STEPS_MAX: u64 = 1_000_000_000;

/// The most epochs of one round at one client.
pub const EPOCHS_MAX: u64 = 1_000_000;

/// The largest share of its examples that a client may hold out.
pub const HOLDOUT_MAX: f64 = 0.9;

/// How much training one round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many times over all examples.
    Epochs(u64),
    /// So many batches, beginning a new epoch where one ends.
    Steps(u64),
}

/// How many examples one step sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// All of them, in the order in which the client has them.
    All,
    /// So many, shuffled anew in every epoch; the last batch of an epoch may be shorter.
    Size(usize),
}

/// The local objective and how it is descended: `[train]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Train {
    /// What is minimised.
    pub loss: Loss,
    /// How.
    pub optimizer: Optimizer,
    /// For how long.
    pub length: Length,
    /// In which portions.
    pub batch: Batch,
}

/// On whose examples a version of the model is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluateOn {
    /// The clients' training examples.
    pub train: bool,
    /// The clients' own held-out examples.
    pub local: bool,
    /// The evaluators' examples.
    pub central: bool,
}

/// Everything that a client needs to know of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all randomness begins.
    pub seed: Seed,
    /// What an example is.
    pub input: Input,
    /// The model.
    pub model: Model,
    /// What is done to an update before it leaves.
    pub stages: Pipeline,
    /// Local training.
    pub train: Train,
    /// On whose examples versions are measured.
    pub evaluate_on: EvaluateOn,
    /// Every so many rounds; at least 1.
    pub evaluate_every: u64,
    /// The share of its examples that a client holds out, from 0 to [`HOLDOUT_MAX`].
    pub holdout: f64,
}

impl Plan {
    /// Reads `input, model, stages, train`, and of `run, evaluate, data` the keys that concern a client; who has the whole
    /// file checks the others.
    ///
    /// # Errors
    /// What is wrong, on which line, and what to do.
    pub fn parse(document: &Document) -> Result<Self, Error> {
        let mut root = document.table();
        let seed = root.section("run")?.optional("seed").map_or(Ok(0), |item| item.integer(0..=u64::MAX))?;
        let mut input = Input::parse(root.section("input")?)?;
        let section = root.section("model")?;
        let dtype = section.clone().optional("dtype");
        let model = Model::parse(section, &input)?;
        input.indices_below = model.indices_below();
        check_dtype(model.dtype, dtype)?;
        let stages = Pipeline::parse(root.optional("stages"))?;
        let train = Train::parse(root.section("train")?, &input)?;
        let (evaluate_on, evaluate_every) = evaluate(root.section("evaluate")?)?;
        let holdout = root.section("data")?.optional("holdout");
        let holdout = holdout.map_or(Ok(0.0), |item| item.number_in(0.0..=HOLDOUT_MAX))?;
        Ok(Self { seed: Seed(seed), input, model, stages, train, evaluate_on, evaluate_every, holdout })
    }
}

impl Train {
    fn parse(mut table: Table, input: &Input) -> Result<Self, Error> {
        let item = table.required("loss")?;
        let place = item.clone();
        let loss = choose::from_item(loss::ROWS, "loss", item)?;
        loss.check(input).map_err(|(problem, hint)| place.fail(problem).with_hint(hint))?;
        let optimizer = choose::from_item(optimizer::ROWS, "optimizer", table.required("optimizer")?)?;
        let length = length(&mut table)?;
        let batch = batch(&table.required("batch")?)?;
        table.finish()?;
        Ok(Self { loss, optimizer, length, batch })
    }
}

fn length(table: &mut Table) -> Result<Length, Error> {
    const HINT: &str = "give `epochs`, for example epochs = 1, or `steps`";
    match (table.optional("epochs"), table.optional("steps")) {
        (Some(epochs), None) => Ok(Length::Epochs(epochs.integer(1..=EPOCHS_MAX)?)),
        (None, Some(steps)) => Ok(Length::Steps(steps.integer(1..=STEPS_MAX)?)),
        (Some(_), Some(steps)) => {
            Err(steps.fail("`train.steps` and `train.epochs` exclude each other").with_hint(HINT))
        }
        (None, None) => Err(table.fail("`train` says neither `epochs` nor `steps`").with_hint(HINT)),
    }
}

fn batch(item: &Item) -> Result<Batch, Error> {
    if !item.is_text() {
        return Ok(Batch::Size(item.size(1..=crate::data::EXAMPLES_MAX)?));
    }
    match item.text()? {
        "all" => Ok(Batch::All),
        other => Err(item.fail(format!("unknown batch `{other}`")).with_hint("give a number, or \"all\"")),
    }
}

/// Half precision is a type for travelling and storing; our kernels train in single and double.
fn check_dtype(dtype: Dtype, item: Option<Item>) -> Result<(), Error> {
    match (dtype, item) {
        (Dtype::F16 | Dtype::Bf16, Some(item)) => {
            Err(item.fail(format!("models are not trained in {dtype}")).with_hint("write dtype = \"f32\" or \"f64\""))
        }
        (Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64, _) => Ok(()),
    }
}

fn evaluate(mut table: Table) -> Result<(EvaluateOn, u64), Error> {
    let every = table.optional("every").map_or(Ok(1), |item| item.integer(1..=u64::MAX))?;
    let mut on = EvaluateOn::default();
    for item in table.optional("on").map_or_else(|| Ok(Vec::new()), Item::list)? {
        let words = [("central", 0), ("local", 1), ("train", 2)];
        match choose::word(&words, "evaluation", &item)? {
            0 => on.central = true,
            1 => on.local = true,
            _ => on.train = true,
        }
    }
    Ok((on, every))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const MODEL: &str =
        "input = { shape = [4], classes = 2 }\nmodel = { layers = [{ kind = 'linear', out = 2 }] }\n[train]\n";
    const TRAIN: &str = "loss = 'cross_entropy'\noptimizer = { kind = 'sgd', lr = 0.5 }\n";

    /// A plan from the text of a run file.
    pub(crate) fn plan(text: &str) -> Plan {
        Plan::parse(&Document::parse("run.toml", text).unwrap()).unwrap()
    }

    fn refused(text: &str, expected: &str) {
        let error = Plan::parse(&Document::parse("r.toml", text).unwrap()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some() || expected.contains("missing"), "{error} has no hint");
    }

    #[test]
    fn plan_reads_back_from_its_canonical_text() {
        let text = format!(
            "stages = [{{ kind = 'clip', norm = 2.0 }}]\n{MODEL}{TRAIN}epochs = 2\nbatch = 10\n[run]\nname = 'x'\n\
             seed = 7\n[evaluate]\non = ['train', 'central']\ngate = 0.9\n[data]\nholdout = 0.25\n[cohort]\nsize = 3"
        );
        let document = Document::parse("r.toml", &text).unwrap();
        let plan = Plan::parse(&document).unwrap();
        assert_eq!((plan.seed, plan.train.length, plan.train.batch), (Seed(7), Length::Epochs(2), Batch::Size(10)));
        assert_eq!(plan.evaluate_on, EvaluateOn { train: true, local: false, central: true });
        assert!((plan.holdout - 0.25).abs() < f64::EPSILON);
        let sent = document.canonical(&["evaluate", "input", "model", "run", "stages", "train"]);
        let received = Plan::parse(&Document::parse("plan", &sent).unwrap()).unwrap();
        assert_eq!((received.train, received.seed, &received.stages), (plan.train, plan.seed, &plan.stages));
        assert_eq!(received.model.layout, plan.model.layout);
    }

    #[test]
    fn impossible_combinations_are_refused_with_their_lines() {
        let train = |rest: &str| format!("{MODEL}{TRAIN}{rest}");
        refused(&train("batch = 1"), "line 3: `train` says neither `epochs` nor `steps`");
        refused(&train("batch = 1\nsteps = 1\nepochs = 1"), "line 7: `train.steps` and `train.epochs` exclude");
        refused(&train("steps = 1\nbatch = 'al'"), "line 7: unknown batch `al`");
        refused(&train("steps = 1"), "`train.batch` is missing");
        refused(&train("steps = 1\nbatch = 1\nbach = 2"), "unknown key `bach`");
        let with = |loss: &str| format!("{MODEL}loss = '{loss}'\noptimizer = {{ kind = 'sgd', lr = 1 }}\nsteps = 1");
        refused(&with("mse"), "line 4: loss `mse`");
        refused(&with("cross_entrpy"), "unknown loss `cross_entrpy`");
        refused(&with("cross_entropy").replace(", classes = 2", "").replace("out = 2", "out = 1"), "needs classes");
        refused(&train("steps = 1\nbatch = 1").replace("layers", "dtype = 'bf16', layers"), "not trained in bf16");
    }

    #[test]
    fn published_run_files_are_plans() {
        let mnist = "input = { shape = [1, 28, 28], divide = 255, classes = 10 }\n[model]\nlayers = [\
            { kind = 'conv2d', out = 32, kernel = 5, padding = 'same' }, 'relu', { kind = 'max_pool2d', size = 2 },\
            'flatten', { kind = 'linear', out = 10 }]\n[train]\nloss = 'cross_entropy'\n\
            optimizer = { kind = 'sgd', lr = 0.1 }\nepochs = 1\nbatch = 10\n[evaluate]\non = ['central']";
        assert_eq!(plan(mnist).evaluate_every, 1);
    }
}
