//! How far a run is: a bar on a terminal, a line a round elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use tributary_common::event::{Event, Notice, RoundLine};
use tributary_coordinator::record::WAITING;

use super::{Format, Output, bytes, duration, percent};

/// Shows a run's events as they come.
pub(crate) struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    rounds: u64,
    bytes: u64,
    /// Clients whose slot ended in this round.
    slots: u64,
}

impl Progress {
    pub(super) fn new(output: Output, has_bar: bool) -> Self {
        let bar = has_bar.then(|| {
            let bar = ProgressBar::new(0);
            let template = "round {pos}/{len} {bar:10}  {wide_msg}";
            bar.set_style(ProgressStyle::with_template(template).expect("the template is well formed"));
            bar
        });
        Self { output, bar, rounds: 0, bytes: 0, slots: 0 }
    }

    /// Shows one event.
    pub(crate) fn event(&mut self, event: &Event) {
        self.output.event(event);
        if self.output.format != Format::Text {
            return;
        }
        match event {
            Event::Run(run) => {
                self.rounds = run.rounds;
                if let Some(bar) = &self.bar {
                    bar.set_length(run.rounds);
                }
                let size = bytes(run.model_bytes);
                self.line(&format!(
                    "{}: {} parameters ({size}), {} rounds, seed {}",
                    run.name, run.parameters, run.rounds, run.seed
                ));
            }
            Event::Round(line) => self.round(line),
            Event::Notice(notice) if self.is_waiting(notice) => {
                if let Some(bar) = &self.bar {
                    bar.set_message(notice.text.clone());
                }
            }
            Event::Notice(notice) => {
                let who = notice.client.as_ref().map_or_else(String::new, |client| format!("{client}: "));
                self.line(&format!("{who}{}", notice.text));
            }
            Event::Slot(slot) => {
                self.slots += 1;
                if let Some(reason) = &slot.reason {
                    self.line(&format!("round {}: {} {}: {reason}", slot.round, slot.client, slot.fate));
                }
            }
            Event::Evaluation(_) => {}
            Event::Done(_) => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
            }
        }
    }

    fn round(&mut self, line: &RoundLine) {
        self.bytes += line.bytes_down + line.bytes_up;
        self.slots = 0;
        let measured = measured(line);
        match &self.bar {
            Some(bar) => {
                bar.set_position(line.round.0);
                let left = duration(bar.eta().as_secs_f64());
                let first = measured.first().cloned().unwrap_or_default();
                bar.set_message(format!("{left} left  {}  {first}", bytes(self.bytes)));
            }
            None => {
                let (round, rounds, clients) = (line.round.0, self.rounds, line.clients);
                let message =
                    if measured.is_empty() { format!("model {}", line.model.short()) } else { measured.join(", ") };
                self.output.say(&format!(
                    "round {round}/{rounds}: {clients} clients, {message}, {} in {}",
                    bytes(line.bytes_down + line.bytes_up),
                    duration(line.seconds),
                ));
            }
        }
    }

    /// Whether a notice says what is waited for, which a bar shows in place.
    fn is_waiting(&self, notice: &Notice) -> bool {
        self.bar.is_some() && notice.client.is_none() && notice.text.starts_with(WAITING)
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => self.output.say(text),
        }
    }
}

impl Drop for Progress {
    /// A run that ends early leaves no half-drawn bar above its last words.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The metrics that a round has, each in a few words, the most telling first.
fn measured(line: &RoundLine) -> Vec<String> {
    let parts = [("central", &line.central), ("local", &line.local), ("train", &line.train)];
    parts
        .into_iter()
        .filter_map(|(on, summary)| {
            let summary = summary.as_ref()?;
            match (summary.accuracy, summary.loss) {
                (Some(accuracy), _) => Some(format!("{on} accuracy {}", percent(accuracy))),
                (None, Some(loss)) => Some(format!("{on} loss {loss:.4}")),
                (None, None) => None,
            }
        })
        .collect()
}
