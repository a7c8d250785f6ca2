//! `tributary demo`: what a newcomer sees first.

use std::path::Path;
use std::time::{Duration, Instant};

use super::process::{Process, run, tributary};

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

/// Processes whose command line names this folder.
fn processes_of(folder: &Path) -> Vec<u32> {
    let wanted = folder.display().to_string();
    let entries =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let names = |id: &u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        // A process that has ended and was not waited for has no command line.
        String::from_utf8_lossy(&line).contains(&wanted)
    };
    entries.filter(names).collect()
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
    let began = Instant::now();
    while !processes_of(&temporary).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "the demo's processes outlive it");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_outlives_a_demo_that_is_interrupted() {
    check_signal("INT", 130);
}

#[test]
fn nothing_outlives_a_demo_that_is_killed() {
    check_signal("KILL", -1);
}
