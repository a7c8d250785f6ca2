//! `tributary bench train`: the run file's model on this device, one thread: milliseconds a step as a client takes it,
//! gathering and metrics included; examples a second; one client's whole work; and the measuring of the test examples.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tributary_client::trainer::{Control, Error, Examples, Flow, Local, Task, Trainer, Unwatched, evaluate_in_pieces};
use tributary_common::id::{ClientId, Round};

use super::times::{Times, now};
use crate::arguments;
use crate::exit::{self, Failure};
use crate::file::RunFile;
use crate::output::{Format, Output, plural};

/// Steps that are kept at most: those of a very fast model would fill memory.
const STEPS_MAX: usize = 1_000_000;

/// Notes when each step begins, and ends the work when enough was seen.
struct Stopwatch {
    last: Option<Instant>,
    steps: Vec<f64>,
    until: Instant,
}

impl Control for Stopwatch {
    fn step(&mut self, done: u64, total: u64) -> Flow {
        let at = now();
        // What comes before the first step of a task is not a step: the model is copied in there.
        if let Some(last) = self.last.replace(at)
            && done > 0
            && self.steps.len() < STEPS_MAX
        {
            self.steps.push((at - last).as_secs_f64());
        }
        if done == total {
            self.last = None;
        }
        // At least one step is seen whole, however long it takes.
        if at > self.until && !self.steps.is_empty() { Flow::Stop } else { Flow::Continue }
    }
}

pub(super) fn run(arguments: &arguments::BenchTrain, output: Output) -> Result<u8, Failure> {
    let file = RunFile::read(&arguments.run.file, &arguments.run.set)?;
    let device = crate::command::device::open(arguments.device, output)?;
    let dealt = file.deal_to_train()?;
    let model = file.initial_model()?;
    let clients = dealt.parts.clients();
    let largest = (0..clients).max_by_key(|&client| (dealt.parts.part(client).len(), clients - client));
    let client = largest.expect("a partition has clients");
    let indices = dealt.parts.part(client);
    let name = ClientId::simulated(client, clients);
    let mut trainer = Local::on(&device, Arc::clone(&file.plan));
    let longest = Duration::from_secs_f64(arguments.seconds);
    let mut watch = Stopwatch { last: None, steps: Vec::new(), until: now() + longest };
    let mut tasks = Vec::new();
    for round in 1.. {
        let examples = Examples { dataset: &dealt.train, indices };
        let task = Task { round: Round(round), client: &name, model: &model, examples };
        let start = now();
        match trainer.train(&task, &mut watch) {
            Ok(_) => tasks.push(start.elapsed().as_secs_f64()),
            Err(Error::Stopped) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let steps = Times::new(watch.steps);
    let batch = match file.plan.train.batch {
        tributary_client::plan::Batch::All => indices.len(),
        tributary_client::plan::Batch::Size(size) => size.min(indices.len()),
    };
    let evaluation = dealt.test.as_ref().map(|test| {
        let all: Vec<u32> = (0..u32::try_from(test.len()).expect("data sets are below 2^32")).collect();
        let examples = Examples { dataset: test, indices: &all };
        let times =
            Times::of(longest, || evaluate_in_pieces(&mut trainer, &model, &examples, &mut Unwatched).map(drop));
        Ok::<_, Failure>((test.len(), times?))
    });
    let evaluation = evaluation.transpose()?;
    let task = (!tasks.is_empty()).then(|| Times::new(tasks));
    #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^53")]
    let pace = batch as f64 / steps.median();
    if output.format == Format::Text {
        output.result(&format!("device          {}", device.name()));
        output.result(&format!("model           {}, batches of {batch}", plural(model.layout().count(), "parameter")));
        output.result(&format!("step            {}", steps.to_text()));
        output.result(&format!("pace            {pace:.0} examples a second"));
        if let Some(task) = &task {
            output.result(&format!("one client      {} for {}", task.to_text(), plural(indices.len(), "example")));
        }
        if let Some((count, times)) = &evaluation {
            output.result(&format!("evaluation      {} for {}", times.to_text(), plural(*count, "example")));
        }
        return Ok(exit::OK);
    }
    output.document(&json!({
        "bench": "train",
        "device": device.name(),
        "parameters": model.layout().count(),
        "batch": batch,
        "step_ms": steps.to_json(),
        "examples_per_second": pace,
        "client": task.map_or(Value::Null, |task| json!({ "examples": indices.len(), "ms": task.to_json() })),
        "evaluation": evaluation
            .map_or(Value::Null, |(count, times)| json!({ "examples": count, "ms": times.to_json() })),
    }));
    Ok(exit::OK)
}
