//! What happened in a run, read from its folder and added up.
//!
//! A run that was suspended and resumed says `run` and `done` more than once, and may tell a round again: the last word
//! counts. Memory is one small entry for every slot's client, round and per-client measure.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use tributary_common::config::RUN_FILE_BYTES_MAX;
use tributary_common::event::{Done, Evaluation, Event, Notice, RoundLine, Run};
use tributary_common::id::{ClientId, Round, Version};
use tributary_common::metrics::Summary;
use tributary_coordinator::record::WAITING;

use super::error::Error;
use super::participation::Participation;
use super::refusals::Refusals;

/// The longest event in bytes: the per-class table of ten thousands of classes fits.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 20;

/// What one side measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// All together, for every version.
    pub(crate) totals: BTreeMap<Version, Summary>,
    /// Each client by itself, for every version.
    pub(crate) clients: BTreeMap<Version, BTreeMap<ClientId, Summary>>,
    /// The newest measurement of all together that has classes.
    pub(crate) classes: Option<Evaluation>,
}

/// Accuracies that the run file asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Targets {
    /// `run.stop_at.central_accuracy`.
    pub(crate) stop_at: Option<f64>,
    /// `evaluate.gate`.
    pub(crate) gate: Option<f64>,
}

/// A run from its beginning to its end, or as far as it got.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// Who and what.
    pub(crate) run: Run,
    /// How often it was taken up again.
    pub(crate) resumed: usize,
    /// The run file as it was; none if it is missing or no text.
    pub(crate) run_file: Option<String>,
    /// Accuracies to reach.
    pub(crate) targets: Targets,
    /// Committed rounds.
    pub(crate) rounds: BTreeMap<Round, RoundLine>,
    /// By `train`, `local`, `central`.
    pub(crate) measured: BTreeMap<String, Measured>,
    /// Every client that was ever chosen.
    pub(crate) participation: BTreeMap<ClientId, Participation>,
    /// Why updates were refused.
    pub(crate) refusals: Refusals,
    /// Messages for the operator, in order.
    pub(crate) notices: Vec<Notice>,
    /// How it ended; none: it goes on, or was cut off.
    pub(crate) done: Option<Done>,
    /// The last line was cut off in the middle and is left out.
    pub(crate) is_torn: bool,
}

impl Story {
    /// Reads `events.jsonl` and `run.toml` of the run folder `folder`.
    ///
    /// # Errors
    /// Events are missing, broken before the last line, or do not tell of a run.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("events.jsonl");
        let unreadable = |source| Error::Unreadable { path: path.clone(), source };
        let mut lines = BufReader::new(File::open(&path).map_err(unreadable)?);
        let mut teller = Teller::default();
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            if lines.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
                break;
            }
            if bytes.len() > LINE_BYTES_MAX {
                return Err(Error::LongLine { path, line });
            }
            // A process that dies while it writes leaves a last line without its end; only that one may be broken.
            let is_complete = bytes.ends_with(b"\n");
            match serde_json::from_slice(bytes.trim_ascii()) {
                Ok(event) => teller.hear(event),
                Err(_) if !is_complete => teller.is_torn = true,
                Err(_) if bytes.trim_ascii().is_empty() => {}
                Err(source) => return Err(Error::BrokenLine { path, line, source }),
            }
        }
        teller.story(run_file(&folder.join("run.toml"))).ok_or(Error::NoRun { path })
    }

    /// The side whose numbers stand for the run: the evaluators' if there are any, else the clients' held-out examples,
    /// else their training examples.
    pub(crate) fn headline(&self) -> Option<&'static str> {
        SIDES.into_iter().find(|side| !self.curve(side).is_empty())
    }

    /// The committed models as `side` sees them, by round; the initial model stands at 0.
    pub(crate) fn curve(&self, side: &str) -> BTreeMap<u64, Summary> {
        let mut curve = BTreeMap::new();
        if let Some(initial) = self.measured.get(side).and_then(|measured| measured.totals.get(&Version(0))) {
            curve.insert(0, *initial);
        }
        for (round, line) in &self.rounds {
            let summary = match side {
                "train" => line.train,
                "local" => line.local,
                _ => line.central,
            };
            if let Some(summary) = summary {
                curve.insert(round.0, summary);
            }
        }
        curve
    }

    /// The round that made `version`; 0 for the initial one.
    pub(crate) fn round_of(&self, version: Version) -> u64 {
        self.rounds.values().find(|line| line.version == version).map_or(version.0, |line| line.round.0)
    }
}

/// Sides that measure, the most telling first.
pub(crate) const SIDES: [&str; 3] = ["central", "local", "train"];

/// A story while it is being told.
#[derive(Default)]
struct Teller {
    run: Option<Run>,
    runs: usize,
    rounds: BTreeMap<Round, RoundLine>,
    measured: BTreeMap<String, Measured>,
    participation: BTreeMap<ClientId, Participation>,
    refusals: Refusals,
    notices: Vec<Notice>,
    done: Option<Done>,
    is_torn: bool,
}

impl Teller {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Run(run) => {
                self.run = Some(run);
                self.runs += 1;
                self.done = None;
            }
            Event::Slot(slot) => {
                self.refusals.add(&slot);
                self.participation.entry(slot.client.clone()).or_default().add(slot);
            }
            Event::Evaluation(evaluation) => self.measure(evaluation),
            Event::Round(line) => {
                self.forget_waiting();
                self.rounds.insert(line.round, line);
            }
            Event::Notice(notice) => {
                self.forget_waiting();
                self.notices.push(notice);
            }
            Event::Done(done) => self.done = Some(done),
        }
    }

    /// What was waited for is news only as long as it is waited for.
    fn forget_waiting(&mut self) {
        self.notices.pop_if(|notice| notice.client.is_none() && notice.text.starts_with(WAITING));
    }

    fn measure(&mut self, evaluation: Evaluation) {
        let measured = self.measured.entry(evaluation.on.clone()).or_default();
        if let Some(client) = evaluation.client {
            measured.clients.entry(evaluation.version).or_default().insert(client, evaluation.metrics);
            return;
        }
        measured.totals.insert(evaluation.version, evaluation.metrics);
        let is_newest = measured.classes.as_ref().is_none_or(|newest| newest.version <= evaluation.version);
        if is_newest && (evaluation.confusion.is_some() || !evaluation.per_class.is_empty()) {
            measured.classes = Some(evaluation);
        }
    }

    fn story(self, run_file: Option<String>) -> Option<Story> {
        let Self { run, runs, rounds, measured, participation, refusals, notices, done, is_torn } = self;
        let targets = run_file.as_deref().map(targets).unwrap_or_default();
        let run = run?;
        let resumed = runs - 1;
        Some(Story {
            run,
            resumed,
            run_file,
            targets,
            rounds,
            measured,
            participation,
            refusals,
            notices,
            done,
            is_torn,
        })
    }
}

/// The run file's text, if it is there, not larger than any run file, and text: the report stands without it.
fn run_file(path: &Path) -> Option<String> {
    let mut text = String::new();
    let mut file = File::open(path).ok()?.take(RUN_FILE_BYTES_MAX as u64 + 1);
    file.read_to_string(&mut text).ok()?;
    (text.len() <= RUN_FILE_BYTES_MAX).then_some(text)
}

/// The lines to draw across the accuracy; what is not there or not a number is no line.
fn targets(text: &str) -> Targets {
    let Ok(root) = text.parse::<toml::Table>() else { return Targets::default() };
    let share = |path: &[&str]| {
        let (last, sections) = path.split_last()?;
        let table = sections.iter().try_fold(&root, |table, key| table.get(*key)?.as_table())?;
        table.get(*last)?.as_float().filter(|value| (0.0..=1.0).contains(value))
    };
    Targets { stop_at: share(&["run", "stop_at", "central_accuracy"]), gate: share(&["evaluate", "gate"]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"{"event":"run","run":"r","name":"n","seed":1,"rounds":2,"clients":2,"parameters":3,"model_bytes":12,"config":"D","model":"D","classes":[],"software":"0","mode":"sim"}"#;
    const ROUND: &str = r#"{"event":"round","round":1,"attempt":0,"version":1,"clients":2,"weight":9,"seconds":0.5,"bytes_down":1,"bytes_up":2,"model":"D","central":{"loss":1.5,"n":4}}"#;

    fn told(events: &str) -> Result<Story, Error> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("events.jsonl"), events.replace("\"D\"", &format!("{:?}", "0".repeat(64))))
            .unwrap();
        Story::read(folder.path())
    }

    #[test]
    fn torn_last_line_is_left_out_and_said() {
        let story = told(&format!("{RUN}\n{ROUND}\n{}", &ROUND[..90])).unwrap();
        assert!(story.is_torn);
        assert_eq!(story.rounds.len(), 1);
        assert!(!told(&format!("{RUN}\n{ROUND}")).unwrap().is_torn, "a whole line that lacks only its end counts");
    }

    #[test]
    fn broken_line_in_the_middle_is_an_error_with_its_number() {
        let error = told(&format!("{RUN}\n{}\n{ROUND}\n", &ROUND[..90])).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(error.hint().contains("version"));
    }

    #[test]
    fn endless_line_is_refused_before_it_fills_memory() {
        let error = told(&format!("{RUN}\n{}", "x".repeat(LINE_BYTES_MAX + 1))).unwrap_err();
        assert!(matches!(error, Error::LongLine { line: 2, .. }), "{error}");
    }

    #[test]
    fn events_without_a_run_are_no_story() {
        for events in ["", "\n", &RUN[..50], ROUND] {
            assert!(matches!(told(events).unwrap_err(), Error::NoRun { .. }), "{events}");
        }
        let missing = Story::read(Path::new("there/is/no/such/folder")).unwrap_err();
        assert!(missing.hint().contains("events.jsonl"));
    }

    #[test]
    fn resumed_run_forgets_that_it_was_suspended() {
        let done = r#"{"event":"done","reason":"suspended","rounds":1,"seconds":1.0,"model":"D","norm":1.0}"#;
        let story = told(&format!("{RUN}\n{ROUND}\n{done}\n{RUN}\n{ROUND}\n")).unwrap();
        assert_eq!((story.resumed, story.rounds.len(), story.done), (1, 1, None));
    }

    #[test]
    fn targets_come_from_the_run_file_and_nonsense_is_none() {
        let text = "[run]\nstop_at = { central_accuracy = 0.97 }\n[evaluate]\ngate = 0.9\n";
        assert_eq!(targets(text), Targets { stop_at: Some(0.97), gate: Some(0.9) });
        for text in ["", "run = 3", "[evaluate]\ngate = 'x'", "[evaluate]\ngate = nan", "]["] {
            assert_eq!(targets(text), Targets::default(), "{text}");
        }
    }
}
