//! `tributary list`: everything that a run file can name, from the registries themselves.

use serde_json::json;
use tributary_client::data::SOURCES;
use tributary_client::partition::PARTITIONS;
use tributary_client::{loss, optimizer};
use tributary_common::config::Row;
use tributary_common::model::{Init, layer};
use tributary_common::parameters::Dtype;
use tributary_common::registry::closest;
use tributary_common::stage;
use tributary_coordinator::{aggregate, optimize, select};

use crate::arguments;
use crate::exit::{self, Failure};
use crate::output::{Format, Output, wrap};

/// Where help is wrapped: behind the names, within 80 columns.
const HELP_WIDTH: usize = 59;

/// A kind of choice: its name, where it is typed, and its rows.
struct Kind {
    name: &'static str,
    key: &'static str,
    rows: Vec<(&'static str, &'static str)>,
}

fn rows<T>(rows: &[Row<T>]) -> Vec<(&'static str, &'static str)> {
    rows.iter().map(|row| (row.name, row.help)).collect()
}

fn words<T>(words: &[(&'static str, T)]) -> Vec<(&'static str, &'static str)> {
    words.iter().map(|(word, _)| (*word, "")).collect()
}

fn kinds() -> Vec<Kind> {
    let kind = |name, key, rows| Kind { name, key, rows };
    vec![
        kind("dtypes", "model.dtype", words(&Dtype::WORDS)),
        kind("initialisations", "model.init", words(&Init::WORDS)),
        kind("layers", "model.layers", rows(layer::ROWS)),
        kind("losses", "train.loss", rows(loss::ROWS)),
        kind("optimizers", "train.optimizer", rows(optimizer::ROWS)),
        kind("partitions", "data.partition", rows(PARTITIONS)),
        kind("rules", "aggregate.rule", rows(aggregate::ROWS)),
        kind("selectors", "cohort.selector", rows(select::ROWS)),
        kind("server-optimizers", "server.optimizer", rows(optimize::ROWS)),
        kind("sources", "data.source", SOURCES.iter().map(|row| (row.name, row.help)).collect()),
        kind("stages", "stages", rows(stage::ROWS)),
        kind(
            "defaults",
            "",
            vec![
                ("cohort.size", "\"all\"; a number, or a share like \"10%\""),
                ("cohort.wait_for", "1 client"),
                ("cohort.quorum", "80% of the cohort, at least 1"),
                ("cohort.deadline", "10 minutes"),
                ("evaluate.deadline", "2 minutes"),
                ("evaluate.every", "1 round"),
                ("--listen", "port 4433 on every address"),
            ],
        ),
    ]
}

pub(super) fn run(arguments: &arguments::List, output: Output) -> Result<u8, Failure> {
    let mut kinds = kinds();
    if let Some(wanted) = &arguments.kind {
        let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
        if !names.contains(&wanted.as_str()) {
            let near = closest(wanted, &names).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            return Err(Failure::new(exit::USAGE, format!("there is no kind `{wanted}`"))
                .with_hint(Some(format!("{near}possible: {}", names.join(", ")))));
        }
        kinds.retain(|kind| kind.name == wanted);
    }
    if output.format != Format::Text {
        let all: serde_json::Map<_, _> = kinds
            .iter()
            .map(|kind| {
                let rows: Vec<_> = kind.rows.iter().map(|(name, help)| json!({ "name": name, "help": help })).collect();
                (kind.name.to_owned(), json!(rows))
            })
            .collect();
        output.document(&json!(all));
        return Ok(exit::OK);
    }
    for kind in kinds {
        let key = if kind.key.is_empty() { String::new() } else { format!("  ({})", kind.key) };
        output.result(&format!("{}{key}", kind.name));
        for (name, help) in kind.rows {
            // Whole lines for programs that look for a word in them.
            let lines = if output.is_read_by_people() { wrap(help, HELP_WIDTH) } else { vec![help.to_owned()] };
            output.result(format!("  {name:<18} {}", lines.first().map_or("", String::as_str)).trim_end());
            for line in lines.iter().skip(1) {
                output.result(&format!("{:21}{line}", ""));
            }
        }
    }
    Ok(exit::OK)
}
