//! What each client would have reached alone: same initial weights, same total of local steps, nothing shared.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use tributary_client::data::Dataset;
use tributary_client::device::Device;
use tributary_client::plan::holdout;
use tributary_client::supply::Dealt;
use tributary_client::trainer::{Examples, Local, Task, Trainer, Unwatched};
use tributary_common::id::{ClientId, Round};
use tributary_common::parameters::Parameters;

use crate::exit::{Failure, RUN_FAILED};
use crate::file::RunFile;

/// Clients that are trained alone at most: the first ones; more would only take longer.
const CLIENTS: usize = 20;

/// Accuracies on the evaluator's examples, from 0 to 1.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Compared {
    /// The global model.
    pub(super) global: f64,
    /// Mean over clients of their own models.
    pub(super) alone: f64,
    /// The global model on each client's classes, mean over clients.
    pub(super) global_own: f64,
    /// Each client's own model on its classes, mean over clients.
    pub(super) alone_own: f64,
}

/// Nothing where there are no test examples or no classes.
pub(super) fn compare(
    file: &RunFile,
    device: &Device,
    dealt: &Dealt,
    global: &Parameters,
    rounds: u64,
) -> Result<Option<Compared>, Failure> {
    let Some(test) = dealt.test.as_ref().filter(|test| test.classes().is_some()) else {
        return Ok(None);
    };
    let clients = dealt.parts.clients().min(CLIENTS);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let one = |index: usize| one_client(file, device, dealt, test, global, index, rounds);
    let mut results = Vec::new();
    std::thread::scope(|scope| {
        let one = &one;
        let workers: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || (thread..clients).step_by(threads).map(one).collect::<Vec<_>>()))
            .collect();
        for worker in workers {
            results.extend(worker.join().expect("comparing does not panic"));
        }
    });
    let results: Vec<[f64; 4]> = results.into_iter().collect::<Result<_, _>>()?;
    let mean = |which: usize| {
        #[expect(clippy::cast_precision_loss, reason = "at most twenty clients")]
        let count = results.len() as f64;
        results.iter().map(|result| result[which]).sum::<f64>() / count
    };
    Ok(Some(Compared { global: mean(0), alone: mean(1), global_own: mean(2), alone_own: mean(3) }))
}

fn one_client(
    file: &RunFile,
    device: &Device,
    dealt: &Dealt,
    test: &Dataset,
    global: &Parameters,
    index: usize,
    rounds: u64,
) -> Result<[f64; 4], Failure> {
    let failed = |error| Failure::new(RUN_FAILED, format!("could not train a client alone: {error}"));
    let name = ClientId::simulated(index, dealt.parts.clients());
    let split = holdout::split(dealt.parts.part(index), file.plan.holdout, file.plan.seed, &name);
    let mut trainer = Local::on(device, Arc::clone(&file.plan));
    let mut model = file.initial_model()?;
    for round in 1..=rounds {
        let examples = Examples { dataset: &dealt.train, indices: &split.train };
        let task = Task { round: Round(round), client: &name, model: &model, examples };
        let trained = trainer.train(&task, &mut Unwatched).map_err(failed)?;
        let moved = model.values().zip(trained.update.values()).map(|(weight, change)| weight + change);
        model = Parameters::of_values(Arc::clone(model.layout()), moved);
    }
    let classes = dealt.train.classes().unwrap_or_default();
    let labels = test.classes().unwrap_or_default();
    let own: BTreeSet<u32> = split.train.iter().filter_map(|row| classes.get(*row as usize).copied()).collect();
    let all: Vec<u32> = (0..u32::try_from(test.len()).expect("data sets are below 2^32")).collect();
    let of_own: Vec<u32> = all.iter().copied().filter(|row| own.contains(&labels[*row as usize])).collect();
    let mut accuracy = |model: &Parameters, indices: &[u32]| {
        let metrics = trainer.evaluate(model, &Examples { dataset: test, indices }, &mut Unwatched).map_err(failed)?;
        Ok::<_, Failure>(metrics.accuracy().unwrap_or_default())
    };
    Ok([accuracy(global, &all)?, accuracy(&model, &all)?, accuracy(global, &of_own)?, accuracy(&model, &of_own)?])
}
