//! What a run does, as a value: independent axes read from the run file.

use std::time::Duration;

use tributary_common::config::{Document, Error, Item, Table, choose};
use tributary_common::id::{Seed, is_name};
use tributary_common::model::{Input, Model};
use tributary_common::stage::Pipeline;

use crate::aggregate::Aggregator;
use crate::optimize;
use crate::round::{CohortSize, Evaluation, Quorum, Settings, WeightShare};
use crate::select::{self, Selector};

/// The most rounds of a run.
const ROUNDS_MAX: u64 = 1_000_000;

/// The longest deadline, in seconds: thirty days.
const DEADLINE_SECONDS_MAX: f64 = 30.0 * 24.0 * 3600.0;

/// The round's deadline where the run file names none.
const DEADLINE: Duration = Duration::from_secs(600);

/// The evaluation's deadline where the run file names none.
const EVALUATION_DEADLINE: Duration = Duration::from_secs(120);

/// The share of the cohort that must answer where the run file names none.
const QUORUM: f64 = 0.8;

/// The sections whose canonical text travels to clients as the plan.
const PLAN_SECTIONS: &[&str] = &["evaluate", "input", "model", "run", "stages", "train"];

/// What clients need of a run file, as canonical text: the plan that a coordinator sends them.
///
/// # Errors
/// `data.holdout`, which travels alone of its section, is no number.
pub fn plan_text(document: &Document) -> Result<String, Error> {
    let mut text = document.canonical(PLAN_SECTIONS);
    if let Some(item) = document.table().section("data")?.optional("holdout") {
        text.push_str(&format!("data = {{\"holdout\" = {}}}\n", item.number()?));
    }
    Ok(text)
}

/// On whose examples versions are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluateOn {
    /// The clients' training examples.
    pub train: bool,
    /// The clients' own held-out examples.
    pub local: bool,
    /// The evaluators' examples.
    pub central: bool,
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Strategy {
    /// The run's name.
    pub name: String,
    /// Rounds, cohort, quorum, deadlines.
    pub rounds: Settings,
    /// On what versions are measured.
    pub evaluate_on: EvaluateOn,
    /// Central accuracy at which the run ends, if any.
    pub stop_at: Option<f64>,
    /// Committed versions whose models stay on disk, the best one not counted.
    pub keep_models: usize,
    /// Central accuracy below which the command reports failure at the end, if any.
    pub gate: Option<f64>,
    /// What is checked on every update.
    pub stages: Pipeline,
    /// How updates are combined.
    pub aggregator: Aggregator,
    /// What is done with the combination.
    pub optimizer: optimize::Rule,
    /// What examples are.
    pub input: Input,
    /// The model.
    pub model: Model,
}

impl Strategy {
    /// Reads the sections that are the coordinator's: `run, cohort, input, model, stages, aggregate, server, evaluate`. The
    /// others (`train, data, sim`) belong to clients and simulation; whoever has all of them checks for unknown ones.
    ///
    /// # Errors
    /// What is wrong, where, and what to do.
    pub fn parse(document: &Document) -> Result<Self, Error> {
        let mut root = document.table();
        let input = Input::parse(root.section("input")?)?;
        let model = Model::parse(root.section("model")?, &input)?;
        let stages = Pipeline::parse(root.optional("stages"))?;
        let mut aggregate = root.section("aggregate")?;
        let share = aggregate.optional("max_weight_share");
        let aggregator = Aggregator::parse(aggregate)?;
        let optimizer = optimize::Rule::parse(root.section("server")?)?;
        let run = RunSection::parse(root.section("run")?)?;
        let (evaluate, evaluate_on, gate) = evaluate(root.section("evaluate")?)?;
        let mut rounds = Settings {
            seed: run.seed,
            rounds: run.rounds,
            selector: Selector::Random,
            cohort: CohortSize::All,
            wait_for: 1,
            quorum: Quorum::Share(QUORUM),
            max_weight_share: None,
            deadline: DEADLINE,
            evaluate,
            has_target: run.stop_at.is_some(),
        };
        cohort(root.section("cohort")?, &mut rounds)?;
        rounds.max_weight_share = share.map(|item| weight_share(&item, &aggregator, rounds.cohort)).transpose()?;
        if let Some((_, place)) = run.stop_at.as_ref().filter(|_| !evaluate_on.central) {
            return Err(place
                .fail("`run.stop_at` looks at the central accuracy, which is not measured")
                .with_hint("write evaluate.on = [\"central\"]"));
        }
        let stop_at = run.stop_at.map(|(accuracy, _)| accuracy);
        let keep_models = run.keep_models;
        Ok(Self {
            name: run.name,
            rounds,
            evaluate_on,
            stop_at,
            keep_models,
            gate,
            stages,
            aggregator,
            optimizer,
            input,
            model,
        })
    }
}

/// Committed versions that stay on disk unless the run file says otherwise.
const KEEP_MODELS: usize = 3;

/// More are an archive, which belongs elsewhere: every one is looked at when a version is kept.
const KEEP_MODELS_MAX: usize = 10_000;

struct RunSection {
    name: String,
    seed: Seed,
    rounds: u64,
    stop_at: Option<(f64, Item)>,
    keep_models: usize,
}

impl RunSection {
    fn parse(mut table: Table) -> Result<Self, Error> {
        let name = table.required("name")?;
        if !is_name(name.text()?) {
            return Err(name.fail("`run.name` must be 1 to 64 of a-z A-Z 0-9 . _ -, the first a letter or a digit"));
        }
        let seed = table.optional("seed").map_or(Ok(0), |item| item.integer(0..=u64::MAX))?;
        let rounds = table.required("rounds")?.integer(1..=ROUNDS_MAX)?;
        let stop_at = match table.optional("stop_at") {
            Some(item) => {
                let place = item.clone();
                let mut target = item.table()?;
                let accuracy = target.required("central_accuracy")?.number_in(0.0..=1.0)?;
                target.finish()?;
                Some((accuracy, place))
            }
            None => None,
        };
        let keep_models =
            table.optional("keep_models").map_or(Ok(KEEP_MODELS), |item| item.size(1..=KEEP_MODELS_MAX))?;
        table.finish()?;
        Ok(Self { name: name.text()?.to_owned(), seed: Seed(seed), rounds, stop_at, keep_models })
    }
}

fn cohort(mut table: Table, rounds: &mut Settings) -> Result<(), Error> {
    if let Some(item) = table.optional("selector") {
        rounds.selector = choose::from_item(select::ROWS, "selector", item)?;
    }
    if let Some(item) = table.optional("size") {
        rounds.cohort = match () {
            () if item.is_text() && item.text()? == "all" => CohortSize::All,
            () if item.is_text() => CohortSize::Share(percent(&item)?),
            () => CohortSize::Number(item.size(1..=100_000_000)?),
        };
    }
    if let Some(item) = table.optional("wait_for") {
        rounds.wait_for = item.size(1..=100_000_000)?;
    }
    if let Some(item) = table.optional("quorum") {
        rounds.quorum = if item.is_text() {
            Quorum::Share(percent(&item)?)
        } else {
            let quorum = item.size(1..=100_000_000)?;
            if let CohortSize::Number(size) = rounds.cohort
                && quorum > size
            {
                return Err(item.fail(format!("a quorum of {quorum} is more than the cohort of {size}")));
            }
            Quorum::Number(quorum)
        };
    }
    if let Some(item) = table.optional("deadline") {
        rounds.deadline = seconds(&item)?;
    }
    table.finish()
}

/// The share of a round's weight that no client may exceed.
fn weight_share(item: &Item, aggregator: &Aggregator, cohort: CohortSize) -> Result<WeightShare, Error> {
    let number = item.number()?;
    let share = WeightShare::new(number).ok_or_else(|| {
        item.fail(format!("`aggregate.max_weight_share` is {number}, which is not above 0 and at most 1"))
    })?;
    if !aggregator.weighs() {
        return Err(item
            .fail("`aggregate.max_weight_share` bounds weights, and here every update weighs the same")
            .with_hint("remove it; the mean by examples is what weighs"));
    }
    if let CohortSize::Number(size) = cohort
        && !share.suits(size)
    {
        return Err(item
            .fail(format!("of a cohort of {size} no client can be held to {number} of the weight"))
            .with_hint(format!(
                "write at least {:.3}, or choose more clients by `cohort.size`",
                1.0 / size as f64 + 5e-4
            )));
    }
    Ok(share)
}

fn evaluate(mut table: Table) -> Result<(Option<Evaluation>, EvaluateOn, Option<f64>), Error> {
    let every = table.optional("every").map_or(Ok(1), |item| item.integer(1..=ROUNDS_MAX))?;
    let mut on = EvaluateOn::default();
    if let Some(item) = table.optional("on") {
        for item in item.list()? {
            let words = [("train", 0), ("local", 1), ("central", 2)];
            match choose::word(&words, "evaluation", &item)? {
                0 => on.train = true,
                1 => on.local = true,
                _ => on.central = true,
            }
        }
    }
    let gate = match table.optional("gate") {
        Some(item) if !on.central => {
            return Err(item
                .fail("`evaluate.gate` looks at the central accuracy, which is not measured")
                .with_hint("write evaluate.on = [\"central\"]"));
        }
        Some(item) => Some(item.number_in(0.0..=1.0)?),
        None => None,
    };
    let deadline = table.optional("deadline").map_or(Ok(EVALUATION_DEADLINE), |item| seconds(&item))?;
    table.finish()?;
    let clients = on.train || on.local;
    let is_asked = clients || on.central;
    Ok((is_asked.then_some(Evaluation { every, clients, central: on.central, deadline }), on, gate))
}

fn percent(item: &Item) -> Result<f64, Error> {
    let text = item.text()?;
    let share = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    share
        .filter(|share| *share > 0.0 && *share <= 100.0)
        .map(|share| share / 100.0)
        .ok_or_else(|| item.fail(format!("`{text}` is no share; write a number, or a share like \"10%\"")))
}

/// A number of seconds, or text like "90s", "10m", "2h".
fn seconds(item: &Item) -> Result<Duration, Error> {
    let seconds = if item.is_text() {
        let text = item.text()?;
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let parsed =
            units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.trim().parse::<f64>().ok()? * factor));
        parsed
            .ok_or_else(|| item.fail(format!("`{text}` is no duration; write seconds, or \"90s\", \"10m\", \"2h\"")))?
    } else {
        item.number()?
    };
    if seconds > 0.0 && seconds <= DEADLINE_SECONDS_MAX {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(item.fail(format!("a deadline must be above 0 and at most {DEADLINE_SECONDS_MAX} seconds")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "run = { name = 'x', rounds = 3 }\ninput = { shape = [4], classes = 2 }\n\
                       model = { layers = [{ kind = 'linear', out = 2 }] }\n";

    fn check(more: &str, expected: Result<(), &str>) {
        let document = Document::parse("r.toml", &format!("{RUN}{more}")).unwrap();
        match (Strategy::parse(&document), expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (result, _) => panic!("{more}: {result:?}"),
        }
    }

    #[test]
    fn impossible_combinations_are_refused() {
        check("", Ok(()));
        check("cohort = { size = '10%', quorum = '50%', deadline = '2m', wait_for = 4 }", Ok(()));
        check("cohort = { size = 3, quorum = 4 }", Err("line 4: a quorum of 4 is more than the cohort of 3"));
        check("cohort = { size = '10' }", Err("no share"));
        check("cohort = { deadline = 'soon' }", Err("no duration"));
        check("cohort = { deadline = 0 }", Err("above 0"));
        check("evaluate = { on = ['centrall'] }", Err("unknown evaluation `centrall`"));
        check("evaluate = { gate = 0.9 }", Err("not measured"));
        check("evaluate = { on = ['central'], gate = 0.9 }", Ok(()));
        check("cohort = { sise = 3 }", Err("unknown key `sise`"));
        check("aggregate = { max_weight_share = 0.25 }", Ok(()));
        check("aggregate = { max_weight_share = 0.25 }\ncohort = { size = 4 }", Ok(()));
        check("cohort = { size = 3 }\naggregate = { max_weight_share = 0.25 }", Err("line 5: of a cohort of 3"));
        check("aggregate = { max_weight_share = 0 }", Err("not above 0"));
        check("aggregate = { max_weight_share = 1.5 }", Err("at most 1"));
        check("aggregate = { weights = 'uniform', max_weight_share = 0.5 }", Err("weighs the same"));
        check("aggregate = { rule = 'median', max_weight_share = 0.5 }", Err("weighs the same"));
        let document =
            Document::parse("r.toml", &RUN.replace("rounds = 3", "rounds = 3, stop_at = { central_accuracy = 0.9 }"));
        assert!(Strategy::parse(&document.unwrap()).unwrap_err().to_string().contains("not measured"));
    }
}
