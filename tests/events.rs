//! `docs/events.schema.json` says what the events are: exactly what the types write, nothing more and nothing less.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]

use serde_json::{Value, json};
use tributary_common::Digest;
use tributary_common::event::{ClassLine, Done, Evaluation, Event, Notice, RoundLine, Run, Slot};
use tributary_common::id::{Round, Version};
use tributary_common::metrics::Summary;

fn classification() -> Summary {
    Summary { loss: Some(0.25), accuracy: Some(0.9), macro_f1: Some(0.875), rmse: None, mae: None, r2: None, n: 360 }
}

fn regression() -> Summary {
    Summary { loss: None, accuracy: None, macro_f1: None, rmse: Some(2.0), mae: Some(1.5), r2: Some(-0.5), n: 4 }
}

fn begin_and_end() -> Vec<Event> {
    vec![
        Event::Run(Run {
            run: "00112233445566778899aabbccddeeff".to_owned(),
            name: "digits".to_owned(),
            seed: u64::MAX,
            rounds: 50,
            clients: 10,
            parameters: 650,
            model_bytes: 5200,
            config: Digest::of(b"config"),
            model: Digest::of(b"model"),
            classes: vec!["zero".to_owned(), "one".to_owned()],
            software: "0.1.0".to_owned(),
            mode: "sim".to_owned(),
        }),
        Event::Notice(Notice { client: Some("client-003".parse().unwrap()), text: "does not fit".to_owned() }),
        Event::Notice(Notice { client: None, text: "below quorum".to_owned() }),
        Event::Done(Done {
            reason: "rounds".to_owned(),
            rounds: 50,
            seconds: 9.5,
            model: Digest::of(b"last"),
            norm: 8.997,
            path: Some("runs/digits-001/model.safetensors".to_owned()),
        }),
        Event::Done(Done {
            reason: "suspended".to_owned(),
            rounds: 0,
            seconds: 0.0,
            model: Digest::of(b"model"),
            norm: 0.0,
            path: None,
        }),
    ]
}

fn middle() -> Vec<Event> {
    let slot = Slot {
        round: Round(1),
        attempt: 0,
        client: "client-000".parse().unwrap(),
        fate: "folded".to_owned(),
        reason: None,
        weight: 143,
        seconds: 0.5,
        bytes_up: 5200,
        same_as: Some("client-001".parse().unwrap()),
    };
    let line = RoundLine {
        round: Round(1),
        attempt: 0,
        version: Version(1),
        clients: 10,
        weight: 1437,
        seconds: 0.75,
        bytes_down: 52_000,
        bytes_up: 52_000,
        model: Digest::of(b"first"),
        train: None,
        local: None,
        central: None,
    };
    let class = ClassLine { class: "zero".to_owned(), precision: 0.9, recall: 0.8, f1: 0.847, support: 36 };
    let evaluation = Evaluation {
        version: Version(1),
        on: "local".to_owned(),
        client: Some("client-000".parse().unwrap()),
        metrics: classification(),
        confusion: None,
        per_class: Vec::new(),
    };
    vec![
        Event::Slot(slot.clone()),
        Event::Slot(Slot { fate: "lost".to_owned(), reason: Some("deadline".to_owned()), weight: 0, ..slot }),
        Event::Round(line.clone()),
        Event::Round(RoundLine {
            train: Some(classification()),
            local: Some(regression()),
            central: Some(classification()),
            ..line
        }),
        Event::Evaluation(evaluation.clone()),
        Event::Evaluation(Evaluation {
            on: "central".to_owned(),
            client: None,
            confusion: Some(vec![vec![30, 6], vec![2, 34]]),
            per_class: vec![class],
            ..evaluation
        }),
    ]
}

fn samples() -> Vec<Value> {
    begin_and_end().iter().chain(&middle()).map(|event| serde_json::to_value(event).unwrap()).collect()
}

/// The committed schema, compiled; compiling checks it against its own meta-schema.
struct Validator {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Validator {
    fn check(&self, value: &Value) -> Result<(), String> {
        self.schemas.validate(value, self.index).map_err(|error| error.to_string())
    }

    fn is_valid(&self, value: &Value) -> bool {
        self.check(value).is_ok()
    }
}

fn schema() -> (Value, Validator) {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("events.schema.json", schema.clone()).unwrap();
    let index = compiler.compile("events.schema.json", &mut schemas).unwrap();
    (schema, Validator { schemas, index })
}

#[test]
fn every_kind_of_event_is_what_the_schema_says() {
    let (schema, validator) = schema();
    let samples = samples();
    for sample in &samples {
        validator.check(sample).unwrap();
    }
    for kind in schema["oneOf"].as_array().unwrap() {
        let kind = kind["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        assert!(samples.iter().any(|sample| sample["event"] == kind), "no sample of `{kind}`");
    }
}

/// A schema that admits anything would pass every other test.
#[test]
fn missing_and_extra_fields_are_refused_at_every_depth() {
    let (schema, validator) = schema();
    for sample in samples() {
        for (place, object) in objects(&sample) {
            for key in object.keys() {
                let mut broken = sample.clone();
                let target = broken.pointer_mut(&place).unwrap().as_object_mut().unwrap();
                target.remove(key);
                let kind = if place.is_empty() { sample["event"].as_str().unwrap() } else { definition(&place) };
                let is_required = schema["$defs"][kind]["required"].as_array().unwrap().contains(&json!(key));
                assert_eq!(validator.is_valid(&broken), !is_required, "without `{key}`: {broken}");
            }
            let mut broken = sample.clone();
            broken.pointer_mut(&place).unwrap()["surprise"] = json!(1);
            assert!(!validator.is_valid(&broken), "{broken}");
        }
    }
}

/// What is required in the schema is what the reader needs, and what is not can be left out.
#[test]
fn reader_and_schema_agree_on_what_may_be_left_out() {
    let (_, validator) = schema();
    for sample in samples() {
        for key in sample.as_object().unwrap().keys() {
            let mut broken = sample.clone();
            broken.as_object_mut().unwrap().remove(key);
            assert_eq!(
                serde_json::from_value::<Event>(broken.clone()).is_ok(),
                validator.is_valid(&broken),
                "{broken}"
            );
        }
    }
}

/// Every object in an event with its JSON pointer.
fn objects(event: &Value) -> Vec<(String, serde_json::Map<String, Value>)> {
    let mut found = Vec::new();
    let mut left = vec![(String::new(), event)];
    while let Some((place, value)) = left.pop() {
        match value {
            Value::Object(map) => {
                left.extend(map.iter().map(|(key, value)| (format!("{place}/{key}"), value)));
                found.push((place, map.clone()));
            }
            Value::Array(items) => {
                left.extend(items.iter().enumerate().map(|(i, value)| (format!("{place}/{i}"), value)));
            }
            _ => {}
        }
    }
    found
}

fn definition(place: &str) -> &'static str {
    if place.starts_with("/per_class/") { "class" } else { "summary" }
}
