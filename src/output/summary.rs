//! The end of a run: a table of rounds, the best and the last metrics, classes, bytes, and what to do next.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};
use tributary_common::event::{ClassLine, Done, Event, RoundLine};

use super::{Format, Output, bytes, duration, percent};

/// Rounds shown; of longer runs some in between are left out.
const ROUNDS_SHOWN: usize = 12;

/// What is remembered of a run for its end.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) rounds: Vec<RoundLine>,
    classes: Vec<ClassLine>,
    pub(crate) done: Option<Done>,
    parameters: u64,
}

/// A table with right-aligned numbers.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

impl Summary {
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Run(run) => self.parameters = run.parameters,
            Event::Round(line) => self.rounds.push(line.clone()),
            Event::Evaluation(evaluation) if evaluation.client.is_none() && !evaluation.per_class.is_empty() => {
                // The evaluator's rows say most; where there is none, whatever was measured.
                if evaluation.on == "central" || self.rounds.iter().all(|line| line.central.is_none()) {
                    self.classes = evaluation.per_class.clone();
                }
            }
            Event::Done(done) => self.done = Some(done.clone()),
            Event::Evaluation(_) | Event::Notice(_) | Event::Slot(_) => {}
        }
    }

    /// Bytes to and from clients.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        let sum = |of: fn(&RoundLine) -> u64| self.rounds.iter().map(of).sum();
        (sum(|line| line.bytes_down), sum(|line| line.bytes_up))
    }

    fn best(&self) -> Option<&RoundLine> {
        let accuracy = |line: &&RoundLine| main_accuracy(line).unwrap_or(f64::NEG_INFINITY);
        self.rounds
            .iter()
            .filter(|line| main_accuracy(line).is_some())
            .max_by(|a, b| accuracy(a).total_cmp(&accuracy(b)))
    }

    /// Prints the end of the run in the wanted format. `next` are commands to try.
    pub(crate) fn print(&self, output: Output, more: &Value, next: &[String]) {
        match output.format {
            Format::JsonLines => {}
            Format::Json => output.document(&json!({
                "rounds": self.rounds,
                "per_class": self.classes,
                "done": self.done,
                "more": more,
            })),
            Format::Text => self.print_text(output, next),
        }
    }

    fn print_text(&self, output: Output, next: &[String]) {
        if !self.rounds.is_empty() {
            output.result(&self.rounds_table());
        }
        if !self.classes.is_empty() && self.classes.len() <= 40 {
            let rows = self.classes.iter().map(|class| {
                let number = |value: f64| format!("{value:.3}");
                vec![
                    class.class.clone(),
                    number(class.precision),
                    number(class.recall),
                    number(class.f1),
                    class.support.to_string(),
                ]
            });
            output.result(&table(&["class", "precision", "recall", "F1", "examples"], rows));
        }
        if let Some(best) = self.best() {
            let accuracy = main_accuracy(best).map_or_else(String::new, percent);
            output.result(&format!("best accuracy   {accuracy} in round {}", best.round));
        }
        let (down, up) = self.traffic();
        output.result(&format!("bytes           {} to clients, {} from clients", bytes(down), bytes(up)));
        if let Some(done) = &self.done {
            output.result(&format!(
                "time            {} for {} rounds ({})",
                duration(done.seconds),
                done.rounds,
                done.reason
            ));
            output.result(&format!("model           {} (norm {:.6})", done.model, done.norm));
            if let Some(path) = &done.path {
                output.result(&format!("file            {path}"));
            }
        }
        for command in next {
            output.result(&format!("next            {command}"));
        }
    }

    fn rounds_table(&self) -> String {
        let n = self.rounds.len();
        let shown = |index: usize| {
            n <= ROUNDS_SHOWN
                || index == n - 1
                || index * (ROUNDS_SHOWN - 1) / (n - 1) != (index.wrapping_sub(1)).min(n) * (ROUNDS_SHOWN - 1) / (n - 1)
        };
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let rows = self.rounds.iter().enumerate().filter(|(index, _)| shown(*index)).map(|(_, line)| {
            let loss = [&line.train, &line.central, &line.local].into_iter().flatten().find_map(|summary| summary.loss);
            vec![
                line.round.to_string(),
                line.clients.to_string(),
                number(loss),
                number(line.central.as_ref().and_then(|summary| summary.accuracy)),
                number(line.local.as_ref().and_then(|summary| summary.accuracy)),
                bytes(line.bytes_down + line.bytes_up),
                duration(line.seconds),
                line.model.short(),
            ]
        });
        table(&["round", "clients", "loss", "central accuracy", "local accuracy", "bytes", "time", "model"], rows)
    }
}

/// The accuracy by which rounds are compared.
fn main_accuracy(line: &RoundLine) -> Option<f64> {
    [&line.central, &line.local, &line.train].into_iter().flatten().find_map(|summary| summary.accuracy)
}
