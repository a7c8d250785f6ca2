//! `tributary load`: many clients against a coordinator that is meant to bear them, or against one of their own.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::federation::Federation;
use super::process::{Process, Said, ends_alone, free_address, processes_of, run, say, tributary};

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
    say(folder.path(), &["load", "--authority", "ca"]).fails(2, &["--coordinator"]);
    say(folder.path(), &["load", "--coordinator", "127.0.0.1:1"]).fails(2, &["--authority"]);
}

/// What goes wrong without it: somebody believes to have loaded a coordinator with a model of another size.
#[test]
fn what_a_run_file_decides_is_not_given_to_a_load_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (option, value, what) in [("--size", "1MB", "how large its model is"), ("--rounds", "3", "how many rounds")] {
        let arguments = ["load", "--authority", "ca", "--coordinator", "127.0.0.1:1", option, value];
        let parts = ["the run file of the coordinator at 127.0.0.1:1 decides", what, "leave"];
        say(folder.path(), &arguments).fails(2, &parts);
    }
}

/// What goes wrong without it: a load that reached nobody looks like one that was borne.
#[test]
fn a_load_that_reaches_nobody_fails() {
    let federation = Federation::new();
    let address = free_address();
    let arguments = ["load", "--authority", "ca", "--coordinator", &address, "--clients", "3", "--seconds", "0.5"];
    say(federation.path(), &arguments).fails(1, &["none of 3 clients joined", "doctor"]);
}

/// Loads with a coordinator of their own, whose temporary folders are in one that is looked into.
struct Own(TempDir);

impl Own {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tributary(self.0.path());
        command.env("TMPDIR", self.0.path()).arg("load").args(arguments);
        command
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(self.0.path()).unwrap().next().is_none()
    }

    /// Whether the coordinator has said where it listens.
    fn is_serving(&self) -> bool {
        std::fs::read_dir(self.0.path()).unwrap().any(|entry| entry.unwrap().path().join("address").exists())
    }

    /// Starts a load that would take long, and ends it as `end` does once its coordinator runs; nothing runs on.
    fn ended_by(&self, end: impl FnOnce(&Process, u32)) -> Said {
        let process = Process::start(&mut self.command(&["--seconds", "1000", "--clients", "3", "--json"]));
        while !self.is_serving() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let [coordinator] = processes_of(self.0.path())[..] else { panic!("the coordinator alone") };
        end(&process, coordinator);
        let said = process.end();
        ends_alone(self.0.path());
        said
    }
}

#[test]
fn a_load_without_a_coordinator_makes_one_with_a_model_of_the_wanted_size() {
    let own = Own::new();
    let said = run(&mut own.command(&["--size", "0.5MB", "--clients", "5", "--rounds", "3", "--json"])).ends_well();
    assert!(said.err.contains("5 clients and a coordinator on this machine, in"), "{}", said.err);
    let summary = said.document();
    let number = |key: &str| summary[key].as_u64();
    assert_eq!((number("model_bytes"), number("rounds"), number("updates")), (Some(500_000), Some(3), Some(15)));
    assert!(number("coordinator_peak_bytes").unwrap() > 1 << 20);
    assert!(own.is_empty());
}

/// What somebody sees who types nothing else.
#[test]
fn a_load_without_any_option_is_worth_looking_at() {
    let own = Own::new();
    let said = run(&mut own.command(&[])).ends_well();
    for line in [
        "model           100.0 kB",
        "rounds          10\n",
        "updates         1000 acknowledged",
        "coordinator     at most",
    ] {
        assert!(said.out.contains(line), "`{line}` is not said:\n{}", said.out);
    }
    assert!(own.is_empty());
}

#[test]
fn a_load_of_its_own_commits_its_rounds_while_clients_come_and_go() {
    let own = Own::new();
    let arguments = ["--size", "8B", "--clients", "20", "--rounds", "5", "--churn", "0.1", "--cut", "0.1", "--json"];
    let summary = run(&mut own.command(&arguments)).ends_well().document();
    assert_eq!((summary["rounds"].as_u64(), summary["model_bytes"].as_u64()), (Some(5), Some(8)));
    assert!(summary["left"].as_u64().unwrap() > 0, "{summary}");
}

/// What goes wrong without it: the disk is full, or the machine out of memory, before anybody is told.
#[test]
fn a_load_that_has_no_room_is_refused_before_it_begins() {
    let own = Own::new();
    let parts = ["10000 clients with a model of 68.7 GB take 687", "TB of the disk", "are free", "--size"];
    run(&mut own.command(&["--size", "64GiB", "--clients", "10000"])).fails(3, &parts);
    assert!(own.is_empty());
    run(&mut own.command(&["--size", "0MB"])).fails(2, &["from 8 B to 64 GiB"]);
    run(own.command(&[]).env("TMPDIR", own.0.path().join("nowhere"))).fails(1, &["temporary folder", "TMPDIR"]);
}

#[test]
fn nothing_is_left_of_a_load_that_is_interrupted() {
    let own = Own::new();
    let said = own.ended_by(|load, _| load.signal("INT"));
    assert_eq!(said.code, 130, "{}", said.err);
    assert!(own.is_empty());
}

#[test]
fn no_coordinator_outlives_a_load_that_is_killed() {
    let said = Own::new().ended_by(|load, _| load.signal("KILL"));
    assert_eq!(said.code, -1, "{}", said.err);
}

/// What goes wrong without it: the clients look for a coordinator that nobody will start again.
#[test]
fn a_load_whose_coordinator_dies_says_so_and_leaves_nothing() {
    let own = Own::new();
    let kill = |id: u32| Command::new("kill").arg("-KILL").arg(id.to_string()).status().unwrap();
    let said = own.ended_by(|_, coordinator| assert!(kill(coordinator).success()));
    said.fails(1, &["the coordinator failed", "SIGKILL"]);
    assert_eq!(said.document()["failed"], 0);
    assert!(own.is_empty());
}
