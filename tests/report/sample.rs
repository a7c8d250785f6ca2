//! Run folders that look like those of real runs, made up from a seed.

use std::fs;
use std::path::Path;

use tributary_common::Digest;
use tributary_common::event::{ClassLine, Done, Evaluation, Event, Notice, RoundLine, Run, Slot};
use tributary_common::id::{ClientId, Round, Seed, Version};
use tributary_common::metrics::Summary;
use tributary_common::rng::{Purpose, Stream, stream};
use tributary_coordinator::record::WAITING;

/// The run file of every sample.
pub(crate) const RUN_FILE: &str = "# Digits, split so that each client holds few classes.\n[run]\nname = \"digits\"\nseed = 7\nrounds = 30\n\n[cohort]\nsize = 8\n\n[input]\nshape = [64]\ndivide = 16\nclasses = 10\n\n[data]\nsource = \"digits\"\npartition = { kind = \"shards\", clients = 10, per_client = 2 } # <not a tag>\nholdout = 0.2\n\n[model]\nlayers = [{ kind = \"linear\", out = 10 }]\n\n[train]\nloss = \"cross_entropy\"\noptimizer = { kind = \"sgd\", lr = 0.5 }\nsteps = 5\n\n[evaluate]\non = [\"train\", \"local\", \"central\"]\ngate = 0.93\n";

/// What kind of run.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Rounds committed, of 30.
    pub(crate) rounds: u64,
    /// Clients in the population; at most 8 of them take part in a round.
    pub(crate) clients: usize,
    /// Names of the classes; empty for regression.
    pub(crate) classes: Vec<String>,
    /// `train`, `local`, `central`.
    pub(crate) sides: Vec<&'static str>,
    /// `done.reason`; none: the run was cut off.
    pub(crate) end: Option<&'static str>,
    /// Why slots were lost.
    pub(crate) reason: String,
}

impl Sample {
    /// Thirty rounds of ten clients on ten classes.
    pub(crate) fn digits() -> Self {
        Self {
            rounds: 30,
            clients: 10,
            classes: (0..10).map(|class| class.to_string()).collect(),
            sides: vec!["train", "local", "central"],
            end: Some("rounds"),
            reason: "no update before the deadline".to_owned(),
        }
    }

    /// Writes `run.toml` and `events.jsonl`.
    pub(crate) fn write(&self, folder: &Path) {
        let lines: String = self.events().iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
        fs::write(folder.join("events.jsonl"), lines).unwrap();
        fs::write(folder.join("run.toml"), RUN_FILE).unwrap();
    }

    fn events(&self) -> Vec<Event> {
        let mut random = stream(Seed(7), Round(0), None, Purpose::Faults);
        let mut events = vec![Event::Run(Run {
            run: "00112233445566778899aabbccddeeff".to_owned(),
            name: "digits".to_owned(),
            seed: 7,
            rounds: 30,
            clients: self.clients as u64,
            parameters: 650,
            model_bytes: 2600,
            config: Digest::of(b"configuration"),
            model: Digest::of(&[0]),
            classes: self.classes.clone(),
            software: "0.1.0".to_owned(),
            mode: "sim".to_owned(),
        })];
        let notice = "declined: its examples have 63 values, the model takes 64".to_owned();
        events.push(Event::Notice(Notice { client: Some(ClientId::simulated(9, self.clients)), text: notice }));
        for joined in [0, 1] {
            let text = format!("{WAITING} clients: {joined} of 2 have joined");
            events.push(Event::Notice(Notice { client: None, text }));
        }
        for round in 1..=self.rounds {
            self.round(round, &mut random, &mut events);
        }
        if let Some(reason) = self.end {
            events.push(Event::Done(Done {
                reason: reason.to_owned(),
                rounds: self.rounds,
                seconds: 0.31 * real(self.rounds),
                model: Digest::of(&self.rounds.to_le_bytes()),
                norm: 8.997_183,
                path: Some("runs/digits-001/model.safetensors".to_owned()),
            }));
        }
        events
    }

    fn round(&self, round: u64, random: &mut Stream, events: &mut Vec<Event>) {
        let mut cohort: Vec<usize> = (0..self.clients).collect();
        random.shuffle(&mut cohort);
        cohort.truncate(8);
        cohort.sort_unstable();
        let (mut folded, mut weight) = (0, 0);
        for index in cohort {
            let luck = random.uniform();
            let fate = if luck > 0.96 {
                "declined"
            } else if luck > 0.9 {
                "lost"
            } else {
                "folded"
            };
            let examples = 60 + (index as u64 * 37) % 160;
            let is_folded = fate == "folded";
            folded += u64::from(is_folded);
            weight += if is_folded { examples } else { 0 };
            events.push(Event::Slot(Slot {
                round: Round(round),
                attempt: 0,
                client: ClientId::simulated(index, self.clients),
                fate: fate.to_owned(),
                reason: (!is_folded).then(|| self.reason.clone()),
                weight: if is_folded { examples } else { 0 },
                seconds: real(examples) / 900.0 * (0.8 + 0.5 * random.uniform()),
                bytes_up: if is_folded { 2660 } else { 0 },
                same_as: None,
            }));
        }
        let mut line = RoundLine {
            round: Round(round),
            attempt: 0,
            version: Version(round),
            clients: folded,
            weight,
            seconds: 0.22 + 0.1 * random.uniform(),
            bytes_down: 8 * 2660,
            bytes_up: folded * 2660,
            model: Digest::of(&round.to_le_bytes()),
            train: None,
            local: None,
            central: None,
        };
        for &side in &self.sides {
            let summary = self.evaluate(side, round, random, events);
            match side {
                "train" => line.train = Some(summary),
                "local" => line.local = Some(summary),
                _ => line.central = Some(summary),
            }
        }
        events.push(Event::Round(line));
    }

    /// All together, and each client where clients measure.
    fn evaluate(&self, side: &str, round: u64, random: &mut Stream, events: &mut Vec<Event>) -> Summary {
        let ease = match side {
            "train" => 0.02,
            "local" => -0.02,
            _ => 0.0,
        };
        let progress = 1.0 - (-real(round) / 6.0).exp();
        let quality = (0.1 + 0.86 * progress + ease + 0.012 * random.normal()).clamp(0.0, 1.0);
        let all = self.summary(quality, 360);
        let line = |client, metrics, confusion, per_class| {
            Event::Evaluation(Evaluation {
                version: Version(round),
                on: side.to_owned(),
                client,
                metrics,
                confusion,
                per_class,
            })
        };
        if side != "central" {
            for index in 0..self.clients {
                let lag = 0.25 * real(index as u64 % 7) / 7.0 * (1.2 - progress);
                let own = (quality + 0.03 - lag + 0.02 * random.normal()).clamp(0.0, 1.0);
                events.push(line(
                    Some(ClientId::simulated(index, self.clients)),
                    self.summary(own, 36),
                    None,
                    Vec::new(),
                ));
            }
        }
        let (confusion, per_class) = self.confusion(quality, random);
        events.push(line(None, all, confusion, per_class));
        all
    }

    fn summary(&self, quality: f64, n: u64) -> Summary {
        let loss = 2.3 * (1.02 - quality);
        if self.classes.is_empty() {
            let (rmse, mae, r2) = (Some(loss.sqrt()), Some(loss.sqrt() * 0.8), Some(quality));
            return Summary { loss: Some(loss), accuracy: None, macro_f1: None, rmse, mae, r2, n };
        }
        let (accuracy, macro_f1) = (Some(quality), Some(quality * 0.99));
        Summary { loss: Some(loss), accuracy, macro_f1, rmse: None, mae: None, r2: None, n }
    }

    fn confusion(&self, quality: f64, random: &mut Stream) -> (Option<Vec<Vec<u64>>>, Vec<ClassLine>) {
        let classes = self.classes.len();
        if classes == 0 {
            return (None, Vec::new());
        }
        let mut counts = vec![vec![0_u64; classes]; classes];
        for (row, counts) in counts.iter_mut().enumerate() {
            for _ in 0..36 {
                let column = if random.uniform() < quality { row } else { random.below(classes as u64) as usize };
                counts[column] += 1;
            }
        }
        let lines = (0..classes)
            .map(|class| {
                let right = real(counts[class][class]);
                let predicted = real(counts.iter().map(|row| row[class]).sum());
                let (precision, recall) = (if predicted > 0.0 { right / predicted } else { 0.0 }, right / 36.0);
                let f1 = if right > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
                ClassLine { class: self.classes[class].clone(), precision, recall, f1, support: 36 }
            })
            .collect();
        (Some(counts), lines)
    }
}

fn real(value: u64) -> f64 {
    u32::try_from(value).map(f64::from).unwrap()
}
