//! `tributary demo`: what a newcomer sees first.

use std::path::Path;

use super::process::{Process, ends_alone, processes_of, run, tributary};

#[test]
fn demo_ends_above_what_every_client_reaches_alone_and_leaves_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(tributary(folder.path()).args(["demo", "--json"])).ends_well();
    let document = said.document();
    let rounds = document["rounds"].as_array().unwrap();
    let last = rounds.last().unwrap();
    let central = last["central"]["accuracy"].as_f64().unwrap();
    assert!(central >= 0.93, "central accuracy {central}");
    let number = |key: &str| document["more"][key].as_f64().unwrap();
    assert!((number("global") - central).abs() < 1e-12);
    assert!(number("global") > number("alone") + 0.3, "two classes a client: alone it knows no others");
    assert!(number("global_own") > number("alone_own"));
    let path = Path::new(document["done"]["path"].as_str().unwrap());
    let run = folder.path().join(path.parent().unwrap());
    for file in ["run.toml", "events.jsonl", "metrics.csv", "model.safetensors", "best.safetensors", "report.html"] {
        assert!(run.join(file).metadata().unwrap().len() > 0, "{file}");
    }
}

/// In text the end is a story: rounds, classes, bytes, time, files, what to do next, and the comparison.
#[test]
fn demo_tells_its_end_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(tributary(folder.path()).args(["demo", "--set", "run.rounds=3"])).ends_well();
    for part in
        ["accuracy", "precision", "best accuracy", "to clients", "rounds in", "report.html", "tributary sim", "alone"]
    {
        assert!(said.out.contains(part), "`{part}` is not said:\n{}", said.out);
    }
    assert!(said.err.contains("round 3/3"), "{}", said.err);
}

/// Starts a demo that would take long, waits for its first round and ends it by `signal`; nothing may be left.
fn check_signal(signal: &str, code: i32) {
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = tributary(folder.path());
    command.env("TMPDIR", &temporary).args(["demo", "--json-lines", "--set", "run.rounds=100000"]);
    let mut process = Process::start(&mut command);
    process.events().until("round");
    assert!(processes_of(&temporary).len() >= 12, "a coordinator, ten clients and an evaluator");
    process.signal(signal);
    let said = process.end();
    assert_eq!(said.code, code, "{}", said.err);
    ends_alone(&temporary);
}

#[test]
fn nothing_outlives_a_demo_that_is_interrupted() {
    check_signal("INT", 130);
}

#[test]
fn nothing_outlives_a_demo_that_is_killed() {
    check_signal("KILL", -1);
}
