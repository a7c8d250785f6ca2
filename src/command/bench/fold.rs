//! `tributary bench fold`: how fast this machine aggregates: updates as received bytes, to the next model. Beside it the
//! pace of a plain addition over as many parameters: the fold should be bound by memory as that one is.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tributary_common::id::ClientId;
use tributary_common::parameters::{Dtype, Layout, Parameters};
use tributary_common::sum::{BITS_DEFAULT, Sum, WEIGHT_MAX, Weight};
use tributary_coordinator::Threads;
use tributary_coordinator::aggregate::{self, Aggregate, Aggregator, Collected, Weights};
use tributary_coordinator::optimize::{Optimizer, Rule, Sgd};

use super::times::Times;
use crate::arguments;
use crate::command::load::update;
use crate::command::memory;
use crate::exit::{self, Failure, RUN_FAILED};
use crate::output::{Format, Output, bytes, plural};

/// What a fold moves for each parameter: 4 bytes of the update read, 8 of the sum read and written.
const FOLD_BYTES: usize = 20;

/// What `a[i] += b[i]` over f32 moves: two values read, one written.
const ADDITION_BYTES: usize = 12;

/// What an update takes for each parameter while it waits for the aggregation.
const UPDATE_BYTES: u64 = 4;

/// What else is taken for each parameter: two sums of 8 bytes, of the fold alone and of the aggregation; two values of the
/// plain addition; the model and the next one.
const OTHER_BYTES: u64 = 32;

/// What every update weighs: the examples of one client of the published federation.
const WEIGHT: u64 = 600;

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(RUN_FAILED, error)
}

pub(super) fn run(arguments: &arguments::BenchFold, output: Output) -> Result<u8, Failure> {
    let size = |number: u64| usize::try_from(number).expect("bounded by the argument's range");
    let (count, updates) = (size(arguments.parameters), arguments.updates);
    let threads = size(arguments.threads);
    let longest = Duration::from_secs_f64(arguments.seconds);
    has_room(arguments.parameters, updates)?;
    let layout = Layout::new([("weights", Dtype::F32, vec![count])]).map_err(failed)?;
    let received: Vec<Parameters> = (0..).take(size(updates)).map(|seed| update(&layout, seed)).collect();
    let weight = Weight::new(WEIGHT).expect("a constant in range");

    let mut alone = Sum::new(count, BITS_DEFAULT).map_err(failed)?;
    let fold = Times::of(longest, || {
        alone.admit(weight).map_err(failed)?;
        alone.fold_bytes(0, Dtype::F32, received[0].bytes(), weight).map_err(failed)
    })?;
    let (mut left, right) = (vec![0.0_f32; count], received[0].values());
    #[expect(clippy::cast_possible_truncation, reason = "these doubles were read from single precision")]
    let right: Vec<f32> = right.map(|value| value as f32).collect();
    let addition = Times::of(longest, || {
        left.iter_mut().zip(&right).for_each(|(sum, value)| *sum += value);
        Ok::<_, Failure>(())
    })?;

    let rule = aggregate::Rule::Mean(Weights::Examples);
    let aggregator = Aggregator { rule, bits: BITS_DEFAULT, max_examples: WEIGHT_MAX };
    let model = Parameters::zeros(Arc::clone(&layout));
    let mut optimizer = Optimizer::new(Rule::Sgd(Sgd::AVERAGING), count);
    let aggregation = Times::of(longest, || {
        aggregate(&received, weight, &aggregator, Threads::new(threads), &model, &mut optimizer).map(drop)
    })?;

    let pace = |bytes: usize, times: &Times| gigabytes(bytes * count, times.median());
    let (folded, added) = (pace(FOLD_BYTES, &fold), pace(ADDITION_BYTES, &addition));
    if output.format == Format::Text {
        let size = bytes(arguments.parameters * UPDATE_BYTES);
        output.fact("model", &format!("{}, {size}", plural(count, "parameter")));
        output.result(&format!("fold            {folded:.1} GB/s, {}", fold.to_text()));
        output.result(&format!("plain addition  {added:.1} GB/s, {}", addition.to_text()));
        let (updates, threads) = (plural(received.len(), "update"), plural(threads, "thread"));
        output.result(&format!("aggregation     {} for {updates} on {threads}", aggregation.to_text()));
        return Ok(exit::OK);
    }
    output.document(&json!({
        "bench": "fold",
        "parameters": count,
        "updates": updates,
        "threads": threads,
        "fold_ms": fold.to_json(),
        "fold_gb_per_second": folded,
        "addition_ms": addition.to_json(),
        "addition_gb_per_second": added,
        "aggregation_ms": aggregation.to_json(),
    }));
    Ok(exit::OK)
}

/// What would fill the memory is refused before any of it is taken.
fn has_room(parameters: u64, updates: u64) -> Result<(), Failure> {
    let needed = parameters * (UPDATE_BYTES * updates + OTHER_BYTES);
    let updates = plural(usize::try_from(updates).expect("bounded by the argument's range"), "update");
    let what = format!("{updates} of {} take", bytes(UPDATE_BYTES * parameters));
    memory::fits(&what, needed, "this machine's memory", memory::available().unwrap_or(u64::MAX))
        .map_err(|failure| failure.with_hint(Some("give fewer --updates or fewer --parameters")))
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn gigabytes(bytes: usize, seconds: f64) -> f64 {
    bytes as f64 / seconds / 1e9
}

/// From received bytes to the next model, as a coordinator does it.
fn aggregate(
    received: &[Parameters],
    weight: Weight,
    aggregator: &Aggregator,
    threads: Threads,
    model: &Parameters,
    optimizer: &mut Optimizer,
) -> Result<Parameters, Failure> {
    let mut collected = Collected::new(aggregator, model.layout(), threads).map_err(failed)?;
    for (index, update) in received.iter().enumerate() {
        let client = ClientId::simulated(index, received.len());
        collected.take(client, update.clone(), weight).map_err(failed)?;
    }
    let step = |aggregate: &dyn Aggregate| optimizer.step(model, aggregate, threads);
    Ok(collected.combined(aggregator, step).map_err(failed)?.0)
}
