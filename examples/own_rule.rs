//! One's own rule: a trimmed mean against clients that lie, in a simulation of twenty clients of whom three do.
//!
//! ```text
//! cargo run --release --example own_rule
//! ```
//!
//! A rule that must look at all updates implements [`Combine`], one coordinate after the other, and is put into a strategy
//! where the run file's rule stood. Here the smallest and the largest fifth of every coordinate are left out (Yin et al.
//! 2018, definition 2). The liars are a [`Trainer`] around the built-in one that sends the opposite of what it learned, ten
//! times over. With the mean three of twenty ruin the model; with the trimmed mean they cost little.

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tributary_client::plan::Plan;
use tributary_client::supply::Supply;
use tributary_client::trainer::{self, Control, Examples, Local, Task, Trained, Trainer};
use tributary_common::config::Document;
use tributary_common::id::RunId;
use tributary_common::metrics::Metrics;
use tributary_common::parameters::Parameters;
use tributary_coordinator::aggregate::{Combine, Rule};
use tributary_coordinator::store::Memory;
use tributary_simulation::{Run, simulate};

const RUN: &str = r#"
run = { name = "liars", seed = 5, rounds = 30 }
input = { shape = [64], divide = 16, classes = 10 }
data = { source = "digits", test = { every = 5 }, partition = { kind = "iid", clients = 20 } }
model = { layers = [{ kind = "linear", out = 10 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, epochs = 2, batch = 16 }
evaluate = { on = ["central"] }
"#;

/// Clients that lie: these, of twenty.
const LIARS: &[&str] = &["client-003", "client-008", "client-013"];

/// The mean of every coordinate without its extremes.
#[derive(Debug)]
struct TrimmedMean {
    /// The share that is left out at each end, below one half.
    share: f64,
}

impl Combine for TrimmedMean {
    fn combine(&self, updates: &[&[f64]], _: &[u64], out: &mut [f64]) {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
        let cut = (updates.len() as f64 * self.share) as usize;
        let mut column = vec![0.0; updates.len()];
        for (i, out) in out.iter_mut().enumerate() {
            column.iter_mut().zip(updates).for_each(|(value, update)| *value = update[i]);
            // A total order, so that the sum has the same bits whoever came first.
            column.sort_unstable_by(f64::total_cmp);
            let kept = &column[cut..updates.len() - cut];
            #[expect(clippy::cast_precision_loss, reason = "cohorts are small")]
            let count = kept.len() as f64;
            *out = kept.iter().sum::<f64>() / count;
        }
    }
}

/// The built-in trainer, but for those who lie.
struct Suspect {
    honest: Local,
    liars: &'static [&'static str],
}

impl Trainer for Suspect {
    fn train(&mut self, task: &Task<'_>, control: &mut dyn Control) -> Result<Trained, trainer::Error> {
        let mut trained = self.honest.train(task, control)?;
        if self.liars.contains(&task.client.as_str()) {
            let lie: Vec<f64> = trained.update.values().map(|value| -10.0 * value).collect();
            trained.update = Parameters::of_values(Arc::clone(task.model.layout()), lie);
        }
        Ok(trained)
    }

    fn evaluate(
        &mut self,
        model: &Parameters,
        examples: &Examples<'_>,
        control: &mut dyn Control,
    ) -> Result<Metrics, trainer::Error> {
        self.honest.evaluate(model, examples, control)
    }
}

/// The accuracy that a run among `liars` reaches under `rule`; none: under the run file's own, the mean.
fn accuracy(liars: &'static [&'static str], rule: Option<Rule>) -> Result<f64, Box<dyn Error>> {
    let document = Document::parse("RUN", RUN)?;
    let plan = Plan::parse(&document)?;
    let supply = Supply::parse(document.table().section("data")?, PathBuf::new())?;
    let dealt = supply.load(&plan.input, plan.seed)?;
    let mut run = Run::new(RunId(*b"example of rules"), &document, dealt.into(), Arc::new(Memory))?;
    if let Some(rule) = rule {
        run.strategy.aggregator.rule = rule;
    }
    let trainer = || Box::new(Suspect { honest: Local::new(Arc::clone(&run.plan)), liars }) as Box<dyn Trainer>;
    let trainers = vec![trainer(), trainer()];
    let ended = simulate(run, trainers, &AtomicBool::new(false), &|| Duration::ZERO, &mut |_| {})?;
    ended.central_accuracy.ok_or_else(|| "nothing was measured".into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let trimmed = || Some(Rule::All(Arc::new(TrimmedMean { share: 0.2 })));
    for (what, liars, rule) in [
        ("nobody lies, mean", &[][..], None),
        ("nobody lies, trimmed mean", &[], trimmed()),
        ("three lie, mean", LIARS, None),
        ("three lie, trimmed mean", LIARS, trimmed()),
    ] {
        println!("{what:<26} {:.1} %", 100.0 * accuracy(liars, rule)?);
    }
    Ok(())
}
