//! Who does not belong is told why, on both sides, and the exit code says that trying again is in vain.

use std::time::{Duration, SystemTime};

use tributary_certs::Authority;
use tributary_common::identity::{Identity, Role};

use super::federation::Federation;
use super::process::{Process, say, tributary};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Makes an authority of three days ago, and a client `ward` of it whose single day of validity is over.
fn expired(federation: &Federation) {
    let then = SystemTime::now() - 3 * DAY;
    let authority = Authority::create(&federation.path().join("old"), "test", then).unwrap();
    let issue = |role, name: &str, days| {
        let identity = Identity { federation: "test".to_owned(), role, name: name.parse().unwrap() };
        authority.issue(&identity, days * DAY, then).unwrap().save(&federation.path().join(name)).unwrap();
    };
    std::fs::remove_dir_all(federation.path().join("hub")).unwrap();
    issue(Role::Coordinator, "hub", 30);
    issue(Role::Client, "ward", 1);
}

/// Starts a client with this identity against a real coordinator: what the client says, and what the coordinator says.
fn refused(federation: &Federation, identity: &str) -> (super::process::Said, String) {
    let coordinator = federation.coordinator(&[]);
    let mut command = tributary(federation.path());
    command.args(["client", "--identity", identity, "--coordinator", &coordinator.address, "--data", "digits"]);
    let said = Process::start(command.args(["--give-up-after", "20"])).end();
    coordinator.process.signal("INT");
    (said, coordinator.process.end().err)
}

#[test]
fn a_member_of_another_federation_stays_out_and_both_sides_say_why() {
    let federation = Federation::new();
    federation.run_file(&[]);
    say(federation.path(), &["certs", "init", "other", "--federation", "test"]).ends_well();
    say(federation.path(), &["certs", "issue", "other", "spy", "--out", "spy"]).ends_well();
    let (client, coordinator) = refused(&federation, "spy");
    client.fails(5, &["not authorised", "its authority is not trusted here", "hint: both sides need identities"]);
    assert!(coordinator.contains("refused") && coordinator.contains("127.0.0.1"), "{coordinator}");
}

#[test]
fn an_expired_certificate_is_refused_before_and_at_the_door() {
    let federation = Federation::new();
    federation.run_file(&[]);
    expired(&federation);
    // The client's own clock says so already.
    let (client, _) = refused(&federation, "ward");
    client.fails(5, &["expired", "hint:"]);
}

#[test]
fn roles_are_not_interchangeable() {
    let federation = Federation::new();
    federation.run_file(&[]);
    federation.issue("ward", "client");
    let as_coordinator = ["coordinator", "run.toml", "--identity", "ward", "--listen", "127.0.0.1:0"];
    say(federation.path(), &as_coordinator).fails(5, &["has the role client, not coordinator", "--role coordinator"]);
    let as_client = ["client", "--identity", "hub", "--coordinator", "127.0.0.1:1", "--data", "digits"];
    say(federation.path(), &as_client).fails(5, &["has the role coordinator, not client or evaluator"]);
}

#[test]
fn an_identity_that_is_missing_or_open_to_others_is_refused_with_its_file() {
    use std::os::unix::fs::PermissionsExt;
    let federation = Federation::new();
    federation.run_file(&[]);
    let start = ["coordinator", "run.toml", "--identity", "nobody", "--listen", "127.0.0.1:0"];
    say(federation.path(), &start).fails(5, &["nobody"]);
    let key = federation.path().join("hub/key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let start = ["coordinator", "run.toml", "--identity", "hub", "--listen", "127.0.0.1:0"];
    say(federation.path(), &start).fails(5, &["key.pem", "hint: "]);
}
