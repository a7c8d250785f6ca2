//! `tributary doctor`: what it says of a machine that is well, and of each thing that is not.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::federation::Federation;
use super::process::{Said, say};

fn doctor(folder: &Path, more: &[&str]) -> Said {
    say(folder, &[&["doctor", "--json"], more].concat())
}

/// The verdict and the fix of one check.
fn finding(said: &Said, check: &str) -> (String, String) {
    let document = said.document();
    let checks = document["checks"].as_array().unwrap();
    let one = checks.iter().find(|one| one["check"] == check).unwrap_or_else(|| panic!("no `{check}` in {document:#}"));
    assert_eq!(one["fix"] == Value::Null, one["verdict"] == "OK", "what is not well has a fix, what is well has none");
    (one["verdict"].as_str().unwrap().to_owned(), one["fix"].as_str().unwrap_or_default().to_owned())
}

#[track_caller]
fn assert_fails(said: &Said, check: &str, fix: &str) {
    assert_eq!(said.code, 1, "{}", said.out);
    assert_eq!(said.document()["ok"], false);
    let (verdict, told) = finding(said, check);
    assert_eq!(verdict, "FAIL");
    assert!(told.contains(fix), "{told}");
}

#[test]
fn a_member_that_is_well_reaches_its_coordinator_and_stays_a_stranger_to_the_run() {
    let federation = Federation::new();
    federation.run_file(&[]);
    federation.issue("ward", "client");
    let coordinator = federation.coordinator(&[]);
    let arguments = ["run.toml", "--identity", "ward", "--coordinator", &coordinator.address];
    let said = doctor(federation.path(), &arguments);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    for check in ["run file", "clock", "certificate", "permissions", "udp", "handshake"] {
        assert_eq!(finding(&said, check).0, "OK", "{check}");
    }
    // What these say depends on the machine.
    for check in ["cpu", "device", "disk", "socket buffers", "path mtu"] {
        assert_ne!(finding(&said, check).0, "FAIL", "{check}");
    }
    let text = say(federation.path(), &[&["doctor"], &arguments[..]].concat()).ends_well().out;
    assert!(text.lines().any(|line| line.starts_with("OK    handshake       let in by 127.0.0.1:")), "{text}");
    coordinator.process.signal("TERM");
    assert!(!coordinator.process.end().out.contains("ward"), "the doctor joined the run");
}

#[test]
fn each_thing_that_would_stop_a_member_fails_with_its_fix() {
    let federation = Federation::new();
    federation.run_file(&[("rounds = 50", "rounds = \"many\"")]);
    ["ward", "open"].into_iter().for_each(|name| federation.issue(name, "client"));
    let folder = federation.path();
    assert_fails(&doctor(folder, &["run.toml"]), "run file", "");

    let key = folder.join("open/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = doctor(folder, &["--identity", "open"]);
    assert_fails(&said, "permissions", "chmod 600 open/key.pem");
    assert_fails(&said, "certificate", "chmod 600 open/key.pem");
    assert_fails(&doctor(folder, &["--identity", "nobody"]), "certificate", "tributary certs issue");

    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let said = doctor(folder, &["--identity", "ward", "--coordinator", &address]);
    assert_fails(&said, "udp", "through every firewall");
}

#[test]
fn a_revoked_member_is_told_so_although_udp_gets_through() {
    let federation = Federation::new();
    federation.run_file(&[]);
    federation.issue("ward", "client");
    let folder = federation.path();
    say(folder, &["certs", "revoke", "ca", "ward", "--to", "hub"]).ends_well();
    let coordinator = federation.coordinator(&[]);
    let said = doctor(folder, &["--identity", "ward", "--coordinator", &coordinator.address]);
    assert_eq!(finding(&said, "udp").0, "OK");
    assert_fails(&said, "handshake", "issue a new one");

    // A coordinator's own identity is no visitor; what it can be told is told.
    let said = doctor(folder, &["--identity", "hub", "--coordinator", &coordinator.address]);
    assert_eq!((said.code, finding(&said, "handshake").0), (0, "WARN".to_owned()));
}
