//! `tributary load`: many clients against a coordinator that is meant to bear them.

use super::federation::Federation;
use super::process::{Process, free_address, say, tributary};

/// Starts a coordinator for twenty clients and loads it; the summary.
fn load(more: &[&str]) -> serde_json::Value {
    let federation = Federation::new();
    federation.run_file(&[
        ("rounds = 50", "rounds = 5"),
        ("wait_for = 10", "wait_for = 20"),
        ("quorum = 10", "quorum = 12"),
        ("on = [\"train\", \"central\"]", "on = []"),
    ]);
    let coordinator = federation.coordinator(&[]);
    let mut command = tributary(federation.path());
    command.args(["load", "--authority", "ca", "--coordinator", &coordinator.address, "--clients", "20", "--json"]);
    let pid = coordinator.process.id().to_string();
    let said = Process::start(command.args(["--pid", &pid]).args(more)).end().ends_well();
    coordinator.process.end().ends_well();
    said.document()
}

#[test]
fn every_update_of_a_quiet_load_is_acknowledged() {
    let summary = load(&["--think", "0.01"]);
    assert_eq!((summary["rounds"].as_u64(), summary["updates"].as_u64()), (Some(5), Some(100)));
    assert_eq!(summary["joined"], 20);
    let latency = |which: &str| summary["latency_ms"][which].as_f64().unwrap();
    assert!(latency("p50") > 0.0 && latency("p99") >= latency("p50"));
    assert!(summary["coordinator_peak_bytes"].as_u64().unwrap() > 1 << 20);
}

/// Clients that leave and clients that are cut off come back, and every round is committed.
#[test]
fn a_run_commits_its_rounds_while_clients_come_and_go() {
    let summary = load(&["--churn", "0.1", "--cut", "0.1"]);
    assert_eq!(summary["rounds"], 5);
    assert!(summary["left"].as_u64().unwrap() > 0 && summary["joined"].as_u64().unwrap() > 20, "{summary}");
}

#[test]
fn a_load_without_an_authority_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    say(folder.path(), &["load", "--authority", "nowhere", "--coordinator", "127.0.0.1:1"]).fails(3, &["nowhere"]);
    let arguments = ["load", "--authority", "ca", "--coordinator", "127.0.0.1:1", "--churn", "2"];
    say(folder.path(), &arguments).fails(2, &["must be from 0 to 1"]);
}

/// What goes wrong without it: a load that reached nobody looks like one that was borne.
#[test]
fn a_load_that_reaches_nobody_fails() {
    let federation = Federation::new();
    let address = free_address();
    let arguments = ["load", "--authority", "ca", "--coordinator", &address, "--clients", "3", "--seconds", "0.5"];
    say(federation.path(), &arguments).fails(1, &["none of 3 clients joined", "doctor"]);
}
