//! Nobody there, a port that is taken, a folder that is full.

use std::net::UdpSocket;

use super::federation::Federation;
use super::process::{example, run, say, tributary};

#[test]
fn a_client_tries_again_says_so_once_and_gives_up_when_told() {
    let federation = Federation::new();
    federation.issue("ward", "client");
    // The port is taken by a socket that never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let arguments =
        ["client", "--identity", "ward", "--coordinator", &address, "--data", "digits", "--give-up-after", "3"];
    let said = say(federation.path(), &arguments);
    said.fails(4, &["could not reach the coordinator", &address, "hint: check the address, and that UDP"]);
    assert_eq!(said.err.matches("trying again").count(), 1, "{}", said.err);
}

#[test]
fn a_port_in_use_is_an_error_with_a_hint_and_leaves_no_folder() {
    let federation = Federation::new();
    federation.run_file(&[]);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = say(federation.path(), &["coordinator", "run.toml", "--identity", "hub", "--listen", &address]);
    said.fails(1, &["could not listen on", &address, "hint: another process may use the port"]);
    assert!(!federation.path().join("runs").exists());
}

#[test]
fn an_output_folder_with_a_run_in_it_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let simulate = || {
        let mut command = tributary(folder.path());
        run(command.arg("sim").arg(example("golden-fedsgd.toml")).args([
            "--set",
            "run.rounds=2",
            "--out",
            "here",
            "--json",
        ]))
    };
    simulate().ends_well();
    let before = std::fs::read(folder.path().join("here/events.jsonl")).unwrap();
    simulate().fails(3, &["`here`", "it holds a run already", "hint: choose another folder with --out"]);
    assert_eq!(std::fs::read(folder.path().join("here/events.jsonl")).unwrap(), before);
}
