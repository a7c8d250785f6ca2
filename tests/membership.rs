//! Who is in, who is out, and how that changes while a run goes on: real processes on loopback.

mod federation;

use std::time::Duration;

use federation::{Federation, succeed, tributary};

/// The exit code of those who are not let in.
const NOT_AUTHORISED: Option<i32> = Some(5);

/// What goes wrong without it: a member that must go stays until it leaves by itself, or the run waits for it.
#[test]
fn a_revoked_client_is_out_within_five_seconds_and_the_run_goes_on() {
    let federation = Federation::new();
    federation.issue();
    let (coordinator, address) = federation.coordinator(&["--identity", "hub"]);
    let mut clients = [("a", "0"), ("b", "1"), ("c", "2")].map(|(name, part)| federation.client(name, part, &address));
    coordinator.wait_for(r#""clients":3,"weight""#, 0);

    succeed(federation.path(), &["certs", "revoke", "authority", "b", "--to", "hub"]);
    let (code, took) = clients[1].wait();
    assert_eq!(code, NOT_AUTHORISED);
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    clients[1].wait_for("revoked", 0);
    let notice = coordinator.wait_for("sent away", 0);
    assert!(notice.contains(r#""client":"b""#), "{notice}");

    // Rounds are committed without it: the next one that is told begins after it was sent away.
    let told = coordinator.n_lines();
    coordinator.wait_for(r#""clients":2,"weight""#, told);

    // No second handshake, and the same name with another certificate comes in.
    let mut again = federation.client("b", "1", &address);
    assert_eq!(again.wait().0, NOT_AUTHORISED);
    again.wait_for("it was revoked", 0);
    succeed(federation.path(), &["certs", "issue", "authority", "b", "--out", "b-again"]);
    let _back = federation.client("b-again", "1", &address);
    let told = coordinator.n_lines();
    coordinator.wait_for(r#""clients":3,"weight""#, told);
}

#[test]
fn a_coordinator_does_not_begin_with_a_list_that_it_cannot_trust() {
    let federation = Federation::new();
    federation.issue();
    std::fs::write(federation.file("hub/revoked.crl"), "nonsense").unwrap();
    let output = tributary(federation.path(), &["coordinator", "run.toml", "--identity", "hub", "--listen", "[::1]:0"]);
    assert_eq!(output.status.code(), NOT_AUTHORISED);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("hub/revoked.crl") && said.contains("no list of revoked certificates"), "{said}");
    let output = tributary(federation.path(), &["certs", "revoke", "authority", "nobody"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("issued nothing"));
}
