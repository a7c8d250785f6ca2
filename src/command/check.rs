//! `tributary check`: what a run file means, before anything runs.

use serde_json::json;
use tributary_client::partition::{Rows, Skew};
use tributary_client::supply::Dealt;
use tributary_coordinator::aggregate::Needs;
use tributary_coordinator::round::WeightShare;

use crate::arguments;
use crate::exit::{self, Failure};
use crate::file::RunFile;
use crate::output::{Format, Output, bytes, table};

/// The partition's skew, a line for sizes and one for labels.
pub(super) fn skew(dealt: &Dealt) -> String {
    Skew::of(&dealt.parts, Rows::of(&dealt.train).labels).to_string().replace("; ", "\n")
}

pub(super) fn run(arguments: &arguments::Check, output: Output) -> Result<u8, Failure> {
    let file = RunFile::read(&arguments.run.file, &arguments.run.set)?;
    let (strategy, model) = (&file.strategy, &file.strategy.model);
    let dealt = file.deal_to_train()?;
    let clients = dealt.parts.clients();
    let size = model.layout.bytes() as u64;
    let count = model.layout.count() as u64;
    let cohort = strategy.rounds.cohort.of(clients) as u64;
    let state = strategy.optimizer.state_bytes() as u64;
    // Model and next model; the updates; the state of the server optimiser; what the process itself takes.
    let memory = 2 * size + strategy.aggregator.memory(count, cohort) + count * state + (64 << 20);
    let disk = match strategy.aggregator.needs() {
        Needs::All => cohort * size,
        Needs::Sum => 0,
    };
    let share = strategy.rounds.max_weight_share.map(WeightShare::get);
    if output.format != Format::Text {
        let layers: Vec<_> = model
            .layers
            .iter()
            .zip(&model.shapes[1..])
            .map(|(layer, shape)| json!({"kind": layer.name(), "shape": shape}))
            .collect();
        output.document(&json!({
            "name": strategy.name, "rounds": strategy.rounds.rounds, "parameters": count, "model_bytes": size, "layers": layers,
            "clients": clients, "cohort": cohort, "max_weight_share": share, "round_bytes_down": cohort * size, "round_bytes_up": cohort * size,
            "coordinator_memory_bytes": memory, "coordinator_disk_bytes": disk, "partition": dealt.parts.digest(), "config": file.document.digest(),
        }));
        return Ok(exit::OK);
    }
    let rows = model.layers.iter().enumerate().map(|(index, layer)| {
        let own = model.parameters.iter().filter(|parameter| parameter.name.starts_with(&format!("{index}.")));
        let parameters: usize = own.map(|parameter| parameter.shape.iter().product::<usize>()).sum();
        vec![
            format!("{index}"),
            layer.name().to_owned(),
            format!("{:?}", model.shapes[index + 1]),
            parameters.to_string(),
        ]
    });
    output.result(&table(&["layer", "kind", "leaves", "parameters"], rows));
    output.result("");
    output.fact("model", &format!("{count} parameters, {} as {}", bytes(size), model.dtype));
    for (line, name) in skew(&dealt).lines().zip(["partition", ""]) {
        output.fact(name, line);
    }
    output.fact("dealt as", &dealt.parts.digest().to_string());
    let round = bytes(cohort * size);
    output.fact("a round", &format!("{cohort} of {clients} clients, {round} down, {round} up, evaluation aside"));
    if let Some(share) = share {
        output.fact("one client", &format!("at most {:.4} of the weight that a round's cohort announces", share));
    }
    let kept = if disk > 0 { format!(", {} of disk for a round's updates", bytes(disk)) } else { String::new() };
    output.fact("coordinator", &format!("at most {} of memory{kept}", bytes(memory)));
    output.fact("next", &format!("{} sim {}", arguments::program(), arguments.run.typed()));
    Ok(exit::OK)
}
