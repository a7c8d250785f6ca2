//! Milliseconds of one training step of the trainer, all in: gathering examples, metrics, forward, backward, descent. One
//! thread: `cargo run --release -p tributary-client --example train`. Median over tasks of 600 examples, as one client of
//! the published federation has.

#![expect(clippy::print_stdout, reason = "printing times is what this example is for")]
#![expect(clippy::disallowed_methods, reason = "measuring time is what this example is for")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use tributary_client::data::{Dataset, Features, Labels};
use tributary_client::plan::Plan;
use tributary_client::trainer::{Examples, Local, Task, Trainer, Unwatched};
use tributary_common::config::Document;
use tributary_common::id::{ClientId, Round};
use tributary_common::model::initial;

const TWO_NN: &str = "input = { shape = [784], divide = 255, classes = 10 }\nmodel.layers = [{ kind = 'linear', out = 200 }, \
    'relu', { kind = 'linear', out = 200 }, 'relu', { kind = 'linear', out = 10 }]\n";

const CNN: &str = "input = { shape = [1, 28, 28], divide = 255, classes = 10 }\nmodel.layers = [\
    { kind = 'conv2d', out = 32, kernel = 5, padding = 'same' }, 'relu', { kind = 'max_pool2d', size = 2 },\
    { kind = 'conv2d', out = 64, kernel = 5, padding = 'same' }, 'relu', { kind = 'max_pool2d', size = 2 },\
    'flatten', { kind = 'linear', out = 512 }, 'relu', { kind = 'linear', out = 10 }]\n";

/// Examples of one client.
const EXAMPLES: u32 = 600;

fn main() -> Result<(), Box<dyn Error>> {
    report("2NN, batch 10", TWO_NN, 10, 21, Local::new)?;
    report("2NN, batch 50", TWO_NN, 50, 21, Local::new)?;
    report("CNN, batch 10", CNN, 10, 3, Local::new)?;
    #[cfg(feature = "candle")]
    report("2NN, batch 10, automatic gradients", TWO_NN, 10, 7, Local::with_autograd)?;
    Ok(())
}

fn report(name: &str, model: &str, batch: u32, tasks: u64, make: fn(Arc<Plan>) -> Local) -> Result<(), Box<dyn Error>> {
    let train = "optimizer = { kind = 'sgd', lr = 0.01 }, epochs = 1";
    let text = format!("{model}train = {{ loss = 'cross_entropy', {train}, batch = {batch} }}");
    let plan = Arc::new(Plan::parse(&Document::parse("example", &text)?)?);
    let mut state = 1_u32;
    let pixels = (0..EXAMPLES * 784).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let labels = Labels::Classes((0..EXAMPLES).map(|i| i % 10).collect());
    let dataset = Dataset::new("noise", &plan.input, Features::Bytes(pixels.collect()), labels, Vec::new())?;
    let indices: Vec<u32> = (0..EXAMPLES).collect();
    let parameters = initial::parameters(&plan.model, plan.seed);
    let client = ClientId::simulated(0, 1);
    let mut trainer = make(plan);
    let mut milliseconds = Vec::new();
    for round in 1..=tasks {
        let examples = Examples { dataset: &dataset, indices: &indices };
        let task = Task { round: Round(round), client: &client, model: &parameters, examples };
        let start = Instant::now();
        let trained = trainer.train(&task, &mut Unwatched)?;
        let steps = u32::try_from(trained.steps)?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3 / f64::from(steps));
    }
    milliseconds.sort_unstable_by(f64::total_cmp);
    let (fastest, median) = (milliseconds[0], milliseconds[milliseconds.len() / 2]);
    println!("{name:36} median {median:8.4} ms   fastest {fastest:8.4} ms");
    Ok(())
}
