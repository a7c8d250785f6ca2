//! What a run tells the world: the machine's reports and the clients' metrics become events.
//!
//! Simulation and server share it, so both tell the same story.

use std::collections::BTreeMap;

use tributary_common::Digest;
use tributary_common::event::{ClassLine, Done, Evaluation, Event, Notice, RoundLine, Run, Slot as SlotLine};
use tributary_common::id::{Attempt, ClientId, Round, RunId, Ticket, Version};
use tributary_common::message::Results;
use tributary_common::metrics::{Classification, Metrics};
use tributary_common::model::Classes;

use crate::Strategy;
use crate::round::{Fate, Loss, Reason, Report, Slot};

/// How a notice begins that says what a round waits for.
pub const WAITING: &str = "waiting for";

/// What was measured of one version.
#[derive(Debug, Default)]
struct Measured {
    /// Merged over clients, by `train`, `local`, `central`.
    merged: BTreeMap<&'static str, Metrics>,
    /// Lines of single clients, in order of names.
    clients: BTreeMap<(ClientId, &'static str), Evaluation>,
}

/// Bytes of model and update that moved for one round.
#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    down: u64,
    up: u64,
}

/// Turns reports into events, and knows the central accuracy of the last measured version.
#[derive(Debug)]
pub struct Recorder {
    name: String,
    /// Number of classes; none for regression.
    classes: Option<Classes>,
    model_bytes: u64,
    stop_at: Option<f64>,
    measured: BTreeMap<Version, Measured>,
    /// By round, because the next one may be under way while one is still measured.
    traffic: BTreeMap<Round, Traffic>,
    /// The last round's line.
    last: Option<RoundLine>,
    /// The best score with its version.
    best: Option<(f64, Version)>,
}

impl Recorder {
    /// A recorder before the first event.
    #[must_use]
    pub fn new(strategy: &Strategy) -> Self {
        Self {
            name: strategy.name.clone(),
            classes: strategy.input.classes.clone(),
            model_bytes: strategy.model.layout.bytes() as u64,
            stop_at: strategy.stop_at,
            measured: BTreeMap::new(),
            traffic: BTreeMap::new(),
            last: None,
            best: None,
        }
    }

    /// The first event.
    #[must_use]
    pub fn run(
        &self,
        run: RunId,
        strategy: &Strategy,
        config: Digest,
        model: Digest,
        clients: usize,
        mode: &str,
    ) -> Event {
        let classes = self.classes.as_ref();
        Event::Run(Run {
            run: run.to_string(),
            name: self.name.clone(),
            seed: strategy.rounds.seed.0,
            rounds: strategy.rounds.rounds,
            clients: clients as u64,
            parameters: strategy.model.layout.count() as u64,
            model_bytes: self.model_bytes,
            config,
            model,
            classes: classes.map_or_else(Vec::new, |classes| (0..classes.count()).map(|i| classes.name(i)).collect()),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            mode: mode.to_owned(),
        })
    }

    /// A message for the operator.
    #[must_use]
    pub fn notice(client: Option<ClientId>, text: impl Into<String>) -> Event {
        Event::Notice(Notice { client, text: text.into() })
    }

    /// Counts bytes sent to a client for the work of `ticket`.
    pub fn sent(&mut self, ticket: Ticket, bytes: u64) {
        self.traffic.entry(round_of(ticket)).or_default().down += bytes;
    }

    /// Counts bytes that came from a client for the work of `ticket`.
    pub fn received(&mut self, ticket: Ticket, bytes: u64) {
        self.traffic.entry(round_of(ticket)).or_default().up += bytes;
    }

    /// The bytes of `round`, and those that came for earlier ones after their lines were told.
    fn take_traffic(&mut self, round: Round) -> Traffic {
        let later = self.traffic.split_off(&Round(round.0 + 1));
        let taken = std::mem::replace(&mut self.traffic, later);
        taken
            .into_values()
            .fold(Traffic::default(), |sum, one| Traffic { down: sum.down + one.down, up: sum.up + one.up })
    }

    /// Takes what one client measured of `version`.
    ///
    /// # Errors
    /// It does not fit the run's model.
    pub fn measured(&mut self, version: Version, client: &ClientId, results: &Results) -> Result<(), String> {
        let parts = [("train", &results.train), ("local", &results.local), ("central", &results.central)];
        for (on, metrics) in parts {
            let Some(metrics) = metrics else { continue };
            self.check(metrics)?;
            let measured = self.measured.entry(version).or_default();
            // A result that comes twice counts once.
            if measured.clients.contains_key(&(client.clone(), on)) {
                continue;
            }
            match measured.merged.get_mut(on) {
                Some(merged) => merged.merge(metrics).map_err(|error| error.to_string())?,
                None => _ = measured.merged.insert(on, metrics.clone()),
            }
            let line = Evaluation {
                version,
                on: on.to_owned(),
                client: Some(client.clone()),
                metrics: metrics.summary(),
                confusion: None,
                per_class: Vec::new(),
            };
            measured.clients.insert((client.clone(), on), line);
        }
        Ok(())
    }

    fn check(&self, metrics: &Metrics) -> Result<(), String> {
        match (metrics, &self.classes) {
            (Metrics::Classification(counts), Some(classes)) if counts.classes() as usize == classes.count() => Ok(()),
            (Metrics::Regression(_), None) => Ok(()),
            _ => Err("the metrics are not those of the run's model".to_owned()),
        }
    }

    /// Whether the central accuracy of `version`, as far as it is measured, reaches the stop target.
    #[must_use]
    pub fn reaches_target(&self, version: Version) -> bool {
        let central = self.measured.get(&version).and_then(|measured| measured.merged.get("central"));
        let accuracy = central.and_then(Metrics::accuracy);
        self.stop_at.zip(accuracy).is_some_and(|(target, accuracy)| accuracy >= target)
    }

    /// Takes the line of a round that an earlier process told, oldest first: the best and the last one count on.
    pub fn recall(&mut self, line: RoundLine) {
        self.rank(&line);
        self.last = Some(line);
    }

    /// Whether the line of `version` is the last one that was told, with a central accuracy that reaches the stop target.
    #[must_use]
    pub fn has_reached_target(&self, version: Version) -> bool {
        let told = self.last.as_ref().is_some_and(|line| line.version == version);
        told && self.stop_at.zip(self.central_accuracy()).is_some_and(|(target, accuracy)| accuracy >= target)
    }

    /// The central accuracy of the last round that was measured, for the gate.
    #[must_use]
    pub fn central_accuracy(&self) -> Option<f64> {
        self.last.as_ref()?.central.as_ref()?.accuracy
    }

    /// The line of the last finished round.
    #[must_use]
    pub const fn last(&self) -> Option<&RoundLine> {
        self.last.as_ref()
    }

    /// The best version that was measured: by central accuracy, or by the lowest loss there is; of equal ones the first.
    #[must_use]
    pub fn best(&self) -> Option<Version> {
        self.best.map(|(_, version)| version)
    }

    fn rank(&mut self, line: &RoundLine) {
        let Some(summary) = [&line.central, &line.local, &line.train].into_iter().flatten().next() else { return };
        let Some(score) = summary.accuracy.or_else(|| summary.loss.map(|loss| -loss)) else { return };
        if self.best.is_none_or(|(best, _)| score > best) {
            self.best = Some((score, line.version));
        }
    }

    /// The events of a report.
    pub fn report(&mut self, report: Report) -> Vec<Event> {
        match report {
            Report::Aborted { ticket, missing } => {
                vec![Self::notice(None, format!("{ticket} missed its quorum: {missing}"))]
            }
            Report::Closed { ticket, opened, fates } => {
                let Ticket::Train { round, attempt } = ticket else { return Vec::new() };
                let same = same(&fates);
                let slot = |fate: &Fate| {
                    let seconds = fate.ended.since(opened).as_secs_f64();
                    Event::Slot(SlotLine {
                        same_as: same.get(&fate.client).map(|other| (*other).clone()),
                        ..self.slot(round, attempt, fate, seconds)
                    })
                };
                fates.iter().map(slot).collect()
            }
            Report::Waiting { joined, needed, lacks_evaluator } => {
                let clients = format!("{WAITING} clients: {joined} of {needed} have joined");
                let text = match (joined < needed, lacks_evaluator) {
                    (true, true) => format!("{clients}, and no evaluator"),
                    (true, false) => clients,
                    (false, _) => format!("{WAITING} an evaluator, because evaluate.on names central"),
                };
                vec![Self::notice(None, text)]
            }
            finished @ Report::Finished { .. } => self.finished(&finished),
        }
    }

    fn slot(&self, round: Round, attempt: Attempt, fate: &Fate, seconds: f64) -> SlotLine {
        let (name, reason, weight) = match &fate.slot {
            Slot::Folded { weight, .. } => ("folded", None, *weight),
            Slot::Declined(reason) => ("declined", Some(reason.clone()), 0),
            Slot::Lost(Loss::Refused(reason)) => ("refused", Some(reason.clone()), 0),
            Slot::Lost(Loss::Late) => ("lost", Some("nothing came before the deadline".to_owned()), 0),
            Slot::Lost(Loss::NotTaken(reason)) => ("lost", Some(format!("it could not be taken: {reason}")), 0),
            Slot::Away | Slot::Offered | Slot::Postponed(_) | Slot::Staged { .. } | Slot::Training => ("lost", None, 0),
        };
        SlotLine {
            round,
            attempt: attempt.0,
            client: fate.client.clone(),
            fate: name.to_owned(),
            reason,
            weight,
            seconds,
            bytes_up: if weight > 0 { self.model_bytes } else { 0 },
            same_as: None,
        }
    }

    fn finished(&mut self, report: &Report) -> Vec<Event> {
        let &Report::Finished { ticket, version, clients, weight, digest, opened, committed, .. } = report else {
            return Vec::new();
        };
        let Ticket::Train { round, attempt } = ticket else { return Vec::new() };
        let measured = self.measured.remove(&version).unwrap_or_default();
        self.measured.retain(|later, _| *later > version);
        let summary = |on| measured.merged.get(on).map(Metrics::summary);
        let Traffic { down: bytes_down, up: bytes_up } = self.take_traffic(round);
        let line = RoundLine {
            round,
            attempt: attempt.0,
            version,
            clients: clients as u64,
            weight,
            seconds: committed.since(opened).as_secs_f64(),
            bytes_down,
            bytes_up,
            model: digest,
            train: summary("train"),
            local: summary("local"),
            central: summary("central"),
        };
        let mut events: Vec<Event> = measured.clients.into_values().map(Event::Evaluation).collect();
        events.extend(measured.merged.iter().map(|(on, metrics)| Event::Evaluation(self.total(version, on, metrics))));
        self.rank(&line);
        self.last = Some(line.clone());
        events.push(Event::Round(line));
        events
    }

    fn total(&self, version: Version, on: &str, metrics: &Metrics) -> Evaluation {
        let mut line = Evaluation {
            version,
            on: on.to_owned(),
            client: None,
            metrics: metrics.summary(),
            confusion: None,
            per_class: Vec::new(),
        };
        if let (Metrics::Classification(counts), Some(classes)) = (metrics, &self.classes) {
            line.confusion = matrix(counts);
            let scores = counts.per_class().into_iter().enumerate();
            line.per_class = scores
                .map(|(index, score)| ClassLine {
                    class: classes.name(index),
                    precision: score.precision,
                    recall: score.recall,
                    f1: score.f1,
                    support: score.support,
                })
                .collect();
        }
        line
    }

    /// The last event.
    #[must_use]
    pub fn done(&self, reason: &Reason, seconds: f64, model: Digest, norm: f64, path: Option<String>) -> Event {
        Event::Done(Done {
            reason: reason_word(reason).to_owned(),
            rounds: self.last.as_ref().map_or(0, |line| line.round.0),
            seconds,
            model,
            norm,
            path,
        })
    }
}

/// The round that work is for: a version is measured for the round that made it, and every round makes one.
const fn round_of(ticket: Ticket) -> Round {
    match ticket {
        Ticket::Evaluate { version } => Round(version.0),
        Ticket::Train { round, .. } => round,
    }
}

/// A reason as one word.
#[must_use]
pub const fn reason_word(reason: &Reason) -> &'static str {
    match reason {
        Reason::Postponed { .. } => "postponed",
        Reason::QuorumMissed { .. } => "quorum",
        Reason::Rounds => "rounds",
        Reason::StoreFailed { .. } => "failed",
        Reason::Suspended => "suspended",
        Reason::Target => "stop_at",
    }
}

fn matrix(counts: &Classification) -> Option<Vec<Vec<u64>>> {
    let width = counts.classes() as usize;
    counts.confusion().map(|cells| cells.chunks(width).map(<[u64]>::to_vec).collect())
}

/// Clients whose update is also another one's, each with the first such other. Fates are in order of names.
fn same(fates: &[Fate]) -> BTreeMap<&ClientId, &ClientId> {
    let mut clients: BTreeMap<Digest, Vec<&ClientId>> = BTreeMap::new();
    for fate in fates {
        if let Slot::Folded { digest, .. } = fate.slot {
            clients.entry(digest).or_default().push(&fate.client);
        }
    }
    let groups = clients.values().filter_map(|clients| match clients[..] {
        [first, second, ..] => Some((clients, first, second)),
        _ => None,
    });
    groups
        .flat_map(|(clients, first, second)| {
            clients.iter().map(move |client| (*client, if *client == first { second } else { first }))
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tributary_common::config::Document;
    use tributary_common::metrics::Summary;
    use tributary_common::time::Time;

    const RUN: &str = r#"
run = { name = "r", seed = 1, rounds = 9, stop_at = { central_accuracy = 0.8 } }
input = { shape = [4], classes = 2 }
model = { layers = [{ kind = "linear", out = 2 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, epochs = 1, batch = 1 }
evaluate = { on = ["central"] }
"#;

    /// The line of a round that nobody measured.
    pub(crate) fn line(version: u64, digest: u8) -> RoundLine {
        RoundLine {
            round: Round(version),
            attempt: 0,
            version: Version(version),
            clients: 1,
            weight: 1,
            seconds: 0.5,
            bytes_down: 0,
            bytes_up: 0,
            model: Digest([digest; 32]),
            train: None,
            local: None,
            central: None,
        }
    }

    fn measured(version: u64, accuracy: f64) -> RoundLine {
        let summary = serde_json::json!({ "n": 1, "accuracy": accuracy });
        let summary: Summary = serde_json::from_value(summary).unwrap();
        RoundLine { central: Some(summary), ..line(version, 0) }
    }

    /// What goes wrong without it: after a restart a worse version is called the best, and its file written over the best
    /// one's; a target that was reached is not stopped at.
    #[test]
    fn what_an_earlier_process_told_counts_on() {
        let strategy = Strategy::parse(&Document::parse("run.toml", RUN).unwrap()).unwrap();
        let mut recorder = Recorder::new(&strategy);
        assert!(!recorder.has_reached_target(Version(0)));
        recorder.recall(measured(1, 0.7));
        recorder.recall(measured(2, 0.5));
        assert_eq!(recorder.best(), Some(Version(1)));
        assert_eq!(recorder.central_accuracy(), Some(0.5));
        recorder.recall(measured(3, 0.8));
        assert_eq!(recorder.best(), Some(Version(3)));
        assert!(recorder.has_reached_target(Version(3)) && !recorder.has_reached_target(Version(4)));
    }

    /// What goes wrong without it: a round that is still measured is charged with the next one's updates, and the last round
    /// shows none.
    #[test]
    fn bytes_count_on_the_round_they_are_for_and_late_ones_on_the_next_that_is_told() {
        let strategy = Strategy::parse(&Document::parse("run.toml", RUN).unwrap()).unwrap();
        let mut recorder = Recorder::new(&strategy);
        let train = |round| Ticket::Train { round: Round(round), attempt: Attempt(0) };
        let finish = |recorder: &mut Recorder, round| {
            let (ticket, version, digest) = (train(round), Version(round), Digest([1; 32]));
            let (opened, committed) = (Time(0), Time(1));
            recorder.report(Report::Finished { ticket, version, clients: 1, weight: 1, digest, opened, committed });
            recorder.last().map(|line| (line.bytes_down, line.bytes_up)).unwrap()
        };
        recorder.sent(train(1), 1);
        recorder.received(train(1), 10);
        // Round 2 is under way while version 1 is measured.
        recorder.sent(train(2), 100);
        recorder.sent(Ticket::Evaluate { version: Version(1) }, 1000);
        recorder.received(train(2), 10_000);
        assert_eq!(finish(&mut recorder, 1), (1001, 10));
        recorder.received(train(1), 20);
        assert_eq!(finish(&mut recorder, 2), (100, 10_020));
        assert_eq!(finish(&mut recorder, 3), (0, 0));
    }

    /// What goes wrong without it: one device that counts under several names goes unnoticed.
    #[test]
    fn the_same_update_of_several_clients_is_flagged_at_each() {
        let strategy = Strategy::parse(&Document::parse("run.toml", RUN).unwrap()).unwrap();
        let folded = |client: &str, digest| Fate {
            client: client.parse().unwrap(),
            slot: Slot::Folded { weight: 1, digest: Digest([digest; 32]) },
            ended: Time(5),
        };
        let lost = Fate { slot: Slot::Lost(Loss::Late), ..folded("f", 1) };
        let fates = vec![folded("a", 1), folded("b", 2), folded("c", 1), folded("d", 3), folded("e", 1), lost];
        let ticket = Ticket::Train { round: Round(1), attempt: Attempt(0) };
        let events = Recorder::new(&strategy).report(Report::Closed { ticket, opened: Time(0), fates });
        let same: Vec<_> = events
            .into_iter()
            .map(|event| match event {
                Event::Slot(slot) => slot.same_as.map_or_else(String::new, String::from),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(same, ["c", "", "a", "", "a", ""]);
    }
}
