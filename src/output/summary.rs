//! The end of a run: a table of rounds, the best and the last metrics, classes, bytes, and what to do next.

use serde_json::{Value, json};
use tributary_client::trainer::Error;
use tributary_common::event::{ClassLine, Done, Event, RoundLine};
use tributary_common::id::Round;

use super::{Format, Output, bytes, duration, percent, table};

/// Rounds shown; of longer runs some in between are left out.
const ROUNDS_SHOWN: usize = 12;

/// With more classes than these their table is left out.
const CLASSES_SHOWN: usize = 40;

/// What is remembered of a run for its end.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) rounds: Vec<RoundLine>,
    classes: Vec<ClassLine>,
    pub(crate) done: Option<Done>,
    parameters: u64,
    /// The attempt whose slots came last, and what each of those that count for nothing was told to do.
    hints: (Option<(Round, u32)>, Vec<Option<String>>),
}

/// What a command adds to the end of its run.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// In the JSON document.
    pub(crate) more: Value,
    /// Below the run's own tables.
    pub(crate) table: Option<String>,
    /// Whether nothing of the run was kept, so that it cannot go on.
    pub(crate) is_lost: bool,
    /// Last: where to look and what to type, each with its name.
    pub(crate) next: Vec<(&'static str, String)>,
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
            Event::Slot(slot) => {
                let attempt = Some((slot.round, slot.attempt));
                if self.hints.0 != attempt {
                    self.hints = (attempt, Vec::new());
                }
                let hint = slot.reason.as_deref().map(|reason| Error::hint_in(reason).map(str::to_owned));
                self.hints.1.extend(hint);
            }
            Event::Evaluation(_) | Event::Notice(_) => {}
        }
    }

    /// Bytes to and from clients.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        let sum = |of: fn(&RoundLine) -> u64| self.rounds.iter().map(of).sum();
        (sum(|line| line.bytes_down), sum(|line| line.bytes_up))
    }

    /// What all clients that gave nothing to the last attempt were told to do, where that is the same.
    pub(crate) fn hint(&self) -> Option<&str> {
        let (first, rest) = self.hints.1.split_first()?;
        first.as_deref().filter(|_| rest.iter().all(|hint| hint == first))
    }

    /// The earliest of the best rounds.
    fn best(&self) -> Option<(&RoundLine, f64)> {
        let measured = self.rounds.iter().filter_map(|line| Some((line, main_accuracy(line)?)));
        measured.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// Prints the end of the run in the wanted format.
    pub(crate) fn print(&self, output: Output, ending: &Ending) {
        match output.format {
            Format::JsonLines => {}
            Format::Json => output.document(&json!({
                "rounds": self.rounds,
                "per_class": self.classes,
                "done": self.done,
                "more": ending.more,
            })),
            Format::Text => self.print_text(output, ending),
        }
    }

    fn print_text(&self, output: Output, ending: &Ending) {
        let rounds = (!self.rounds.is_empty()).then(|| self.rounds_table());
        let classes = (!self.classes.is_empty() && self.classes.len() <= CLASSES_SHOWN).then(|| self.classes_table());
        for table in [rounds, classes, ending.table.clone()].into_iter().flatten() {
            output.result(&format!("{table}\n"));
        }
        if let Some((best, accuracy)) = self.best() {
            output.fact("best accuracy", &format!("{} in round {}", percent(accuracy), best.round));
        }
        let (down, up) = self.traffic();
        output.fact("bytes", &format!("{} to clients, {} from clients", bytes(down), bytes(up)));
        if let Some(done) = &self.done {
            output.fact("end", &end(done, ending));
            output.fact("model", &done.model.to_string());
            output.fact("norm", &format!("{:.6}", done.norm));
            if let Some(path) = &done.path {
                output.fact("file", path);
            }
        }
        for (name, text) in &ending.next {
            output.fact(name, text);
        }
    }

    fn classes_table(&self) -> String {
        let rows = self.classes.iter().map(|class| {
            let number = |value: f64| format!("{value:.3}");
            let (precision, recall, f1) = (number(class.precision), number(class.recall), number(class.f1));
            vec![class.class.clone(), precision, recall, f1, class.support.to_string()]
        });
        table(&["class", "precision", "recall", "F1", "examples"], rows)
    }

    /// Columns that no round has anything for are left out.
    fn rounds_table(&self) -> String {
        type Cell = fn(&RoundLine) -> Option<String>;
        let columns: [(&str, Cell); 10] = [
            ("round", |line| Some(line.round.to_string())),
            ("clients", |line| Some(line.clients.to_string())),
            ("train\nloss", |line| number(line.train.as_ref()?.loss)),
            ("central\nloss", |line| number(line.central.as_ref()?.loss)),
            ("central\naccuracy", |line| number(line.central.as_ref()?.accuracy)),
            ("local\nloss", |line| {
                let is_shown_alone = line.train.is_none() && line.central.is_none();
                number(line.local.as_ref().filter(|_| is_shown_alone)?.loss)
            }),
            ("local\naccuracy", |line| number(line.local.as_ref()?.accuracy)),
            ("bytes", |line| Some(bytes(line.bytes_down + line.bytes_up))),
            ("time", |line| Some(duration(line.seconds))),
            ("model", |line| Some(line.model.short())),
        ];
        let lines = self.rounds_shown();
        let shown: Vec<_> = columns.iter().filter(|(_, cell)| lines.iter().any(|line| cell(line).is_some())).collect();
        let header: Vec<_> = shown.iter().map(|(name, _)| *name).collect();
        let blank = || "–".to_owned();
        table(
            &header,
            lines.iter().map(|line| shown.iter().map(|(_, cell)| cell(line).unwrap_or_else(blank)).collect()),
        )
    }

    /// The first and the last round and some in between, evenly.
    fn rounds_shown(&self) -> Vec<&RoundLine> {
        let n = self.rounds.len();
        let place = |index: usize| index * (ROUNDS_SHOWN - 1) / (n - 1).max(1);
        let is_shown = |index: usize| n <= ROUNDS_SHOWN || index == 0 || place(index) != place(index - 1);
        self.rounds.iter().enumerate().filter(|(index, _)| is_shown(*index)).map(|(_, line)| line).collect()
    }
}

fn number(value: Option<f64>) -> Option<String> {
    value.map(|value| format!("{value:.4}"))
}

/// How a run ended, in a few words.
fn end(done: &Done, ending: &Ending) -> String {
    let then = if ending.is_lost { "nothing of it was kept" } else { "it can go on" };
    let rounds = format!("{} rounds in {}", done.rounds, duration(done.seconds));
    match done.reason.as_str() {
        "rounds" => format!("all {rounds}"),
        "stop_at" => format!("run.stop_at reached after {rounds}"),
        "suspended" => format!("stopped after {rounds}; {then}"),
        "postponed" => format!("updates could not be taken after {rounds}; {then}"),
        "failed" => format!("failed after {rounds}; {then}"),
        other => format!("{other} after {rounds}"),
    }
}

/// The accuracy by which rounds are compared.
fn main_accuracy(line: &RoundLine) -> Option<f64> {
    [&line.central, &line.local, &line.train].into_iter().flatten().find_map(|summary| summary.accuracy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::Digest;
    use tributary_common::id::Version;

    fn line(round: u64, accuracy: Option<f64>) -> RoundLine {
        let summary = accuracy.map(|accuracy| {
            let text = format!(r#"{{"loss":0.5,"accuracy":{accuracy},"n":9}}"#);
            serde_json::from_str(&text).unwrap()
        });
        RoundLine {
            round: Round(round),
            attempt: 0,
            version: Version(round),
            clients: 10,
            weight: 100,
            seconds: 0.5,
            bytes_down: 1000,
            bytes_up: 1000,
            model: Digest([7; 32]),
            train: None,
            local: summary,
            central: None,
        }
    }

    fn summary(accuracies: impl IntoIterator<Item = Option<f64>>) -> Summary {
        let rounds = (1..).zip(accuracies).map(|(round, accuracy)| line(round, accuracy)).collect();
        Summary { rounds, ..Summary::default() }
    }

    #[test]
    fn of_equally_good_rounds_the_earliest_is_the_best() {
        let found = summary([Some(0.5), Some(0.9), Some(0.9), None]);
        assert_eq!(found.best().map(|(line, _)| line.round), Some(Round(2)));
        assert!(summary([None]).best().is_none());
    }

    #[test]
    fn long_runs_show_their_ends_and_what_was_not_measured_has_no_column() {
        for n in [1, 2, 12, 13, 40, 1000] {
            let found = summary(vec![Some(0.5); n]);
            let shown = found.rounds_shown();
            assert_eq!(shown.len(), n.min(ROUNDS_SHOWN), "{n}");
            assert_eq!((shown[0].round, shown.last().unwrap().round.0), (Round(1), n as u64));
        }
        let table = summary([Some(0.5), None]).rounds_table();
        assert!(table.contains("accuracy") && table.contains('–') && !table.contains("central"), "{table}");
        assert!(!summary([None]).rounds_table().contains("accuracy"));
    }

    /// Wider ones break in the terminal that most people have.
    #[test]
    fn the_usual_table_fits_80_columns() {
        let mut found = summary([Some(0.5)]);
        found.rounds[0].central = found.rounds[0].local;
        found.rounds[0].round = Round(1000);
        for line in found.rounds_table().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
