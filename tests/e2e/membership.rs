//! Who comes in, who goes out, and how that changes while a run goes on.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tributary_certs::{Credentials, Serial};

use super::federation::{Coordinator, Federation};
use super::process::{Process, Said, appears, say, tributary};

/// Longer than a round takes on a loaded machine; an event that did not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run of three clients that ends only when it is told to.
fn endless(federation: &Federation) {
    federation.run_file(&[
        ("rounds = 50", "rounds = 1000000"),
        ("wait_for = 10", "wait_for = 3"),
        ("quorum = 10", "quorum = 1"),
        (r#"{ kind = "shards", clients = 10, per_client = 2, assign = "stride" }"#, r#"{ kind = "iid", clients = 3 }"#),
        ("[evaluate]\nevery = 1\non = [\"train\", \"central\"]", ""),
    ]);
}

/// A client that says nothing but errors: nobody reads along, and a full pipe would stop it.
fn client(federation: &Federation, name: &str, part: &str, address: &str) -> Process {
    federation.client_with(name, address, &["--run", "run.toml", "--part", part, "--quiet"])
}

/// Events of a coordinator, read beside the test so that it never waits for a reader.
struct Watched {
    events: mpsc::Receiver<Value>,
}

impl Watched {
    fn new(process: &mut Process) -> Self {
        let (sender, events) = mpsc::channel();
        let told = process.events();
        std::thread::spawn(move || told.take_while(|event| sender.send(event.clone()).is_ok()).for_each(drop));
        Self { events }
    }

    /// The next event that is told from now on and is as wanted.
    #[track_caller]
    fn next(&self, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        self.events.try_iter().for_each(drop);
        self.until(what, is_wanted)
    }

    /// The next event that is as wanted, those already told included.
    #[track_caller]
    fn until(&self, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            match self.events.recv_timeout(left) {
                Ok(event) if is_wanted(&event) => return event,
                Ok(_) => {}
                Err(_) => panic!("no {what} came"),
            }
        }
    }

    #[track_caller]
    fn round_of(&self, clients: u64) {
        let what = format!("round of {clients} clients");
        self.next(&what, |event| event["event"] == "round" && event["clients"] == clients);
    }

    #[track_caller]
    fn notice(&self, client: &str, text: &str) {
        self.until(text, |event| {
            event["event"] == "notice"
                && event["client"] == client
                && event["text"].as_str().is_some_and(|told| told.contains(text))
        });
    }
}

/// What goes wrong without it: a member that must go stays until it leaves by itself, or the run waits for it.
#[test]
fn a_revoked_client_is_out_within_five_seconds_and_the_run_goes_on() {
    let federation = Federation::new();
    endless(&federation);
    ["a", "b", "c"].into_iter().for_each(|name| federation.issue(name, "client"));
    let Coordinator { mut process, address } = federation.coordinator(&[]);
    let watched = Watched::new(&mut process);
    let [_a, b, _c] =
        [("a", "0"), ("b", "1"), ("c", "2")].map(|(name, part)| client(&federation, name, part, &address));
    watched.round_of(3);

    say(federation.path(), &["certs", "revoke", "ca", "b", "--to", "hub"]).ends_well();
    let began = Instant::now();
    b.end().fails(5, &["not authorised", "the certificate was revoked", "hint: ", "tributary certs invite"]);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    watched.notice("b", "sent away");
    watched.round_of(2);

    // No second handshake; the same name with another certificate is a member like any other.
    client(&federation, "b", "1", &address).end().fails(5, &["it was revoked", "hint: "]);
    say(federation.path(), &["certs", "issue", "ca", "b", "--out", "b-again"]).ends_well();
    let _again = client(&federation, "b-again", "1", &address);
    watched.round_of(3);
}

#[test]
fn a_coordinator_does_not_begin_with_a_list_that_it_cannot_trust() {
    let federation = Federation::new();
    endless(&federation);
    std::fs::write(federation.path().join("hub/revoked.crl"), "nonsense").unwrap();
    let start = ["coordinator", "run.toml", "--identity", "hub", "--listen", "127.0.0.1:0"];
    say(federation.path(), &start).fails(5, &["hub/revoked.crl", "no list of revoked certificates"]);
    say(federation.path(), &["certs", "revoke", "ca", "nobody"]).fails(3, &["issued nothing", "hint: "]);
}

/// What goes wrong without it: who names the wrong folder, or none, cannot finish what was begun, and the member stays.
#[test]
fn a_revocation_that_reached_no_coordinator_is_said_again_and_then_holds() {
    let federation = Federation::new();
    endless(&federation);
    ["a", "b", "c"].into_iter().for_each(|name| federation.issue(name, "client"));
    let Coordinator { mut process, address } = federation.coordinator(&[]);
    let watched = Watched::new(&mut process);
    let [_a, b, _c] =
        [("a", "0"), ("b", "1"), ("c", "2")].map(|(name, part)| client(&federation, name, part, &address));
    watched.round_of(3);
    let folder = federation.path();
    let revoke = |more: &[&str]| say(folder, &[&["certs", "revoke", "ca", "b"], more].concat());

    for wrong in ["nowhere", "a"] {
        revoke(&["--to", wrong]).fails(3, &[wrong, "identity folder of a coordinator", "copy ca/revoked.crl"]);
    }
    assert!(!folder.join("hub/revoked.crl").exists());
    let again = revoke(&[]).ends_well();
    assert!(
        again.out.contains("1 certificate of `b` revoked before") && again.out.contains("--to DIR"),
        "{}",
        again.out
    );
    // One wrong folder keeps no other one from the list.
    revoke(&["--to", "nowhere", "--to", "hub"]).fails(3, &["nowhere"]);
    b.end().fails(5, &["the certificate was revoked"]);
    watched.round_of(2);
    let last = revoke(&["--to", "hub"]).ends_well();
    assert!(last.out.contains("the list is in hub"), "{}", last.out);
}

/// What goes wrong without it: a token that somebody else has seen lets them in for a day, and nobody can do anything.
#[test]
fn an_invitation_is_taken_back_by_name_and_none_is_left_by_mistake() {
    let federation = Federation::new();
    endless(&federation);
    let folder = federation.path();
    let invitations =
        |authority: &str| std::fs::read_dir(folder.join(authority).join("invitations")).map_or(0, Iterator::count);
    let invite = |address: &str| say(folder, &["certs", "invite", "ca", "x", "--address", address]);
    invite("nope").fails(2, &["cannot stand in a token"]);
    assert_eq!(invitations("ca"), 0);
    invite("hub.example:4434").ends_well();
    assert_eq!(invitations("ca"), 1);
    let revoked = say(folder, &["certs", "revoke", "ca", "x"]).ends_well();
    assert!(revoked.out.contains("1 open invitation of `x` taken back"), "{}", revoked.out);
    assert_eq!(invitations("ca"), 0);
    say(folder, &["certs", "revoke", "ca", "x"]).fails(3, &["no invitation is open", "hint: "]);

    // A coordinator invites each name once, however often it is started, and nobody where a name is none.
    let start = |names: &[&str]| {
        let mut command = tributary(folder);
        command.args(["coordinator", "run.toml", "--new-federation", "--json-lines", "--address-file", "address"]);
        command.args(["--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0"]);
        Process::start(command.args(names.iter().flat_map(|name| ["--invite", name])))
    };
    start(&["a", "b c"]).end().fails(2, &["b c"]);
    assert!(!folder.join("federation").exists());
    for _ in 0..2 {
        let coordinator = start(&["a", "b"]);
        appears(&folder.join("address"));
        coordinator.signal("TERM");
        coordinator.end();
        assert_eq!(invitations("federation/authority"), 2);
        std::fs::remove_file(folder.join("address")).unwrap();
    }
}

/// A coordinator that makes its own federation and gives certificates for so many seconds.
fn founded(federation: &Federation, seconds: u64) -> (Process, Watched) {
    founded_with(federation, &["--member-seconds", &seconds.to_string()])
}

/// A coordinator that makes its own federation, with these arguments.
fn founded_with(federation: &Federation, more: &[&str]) -> (Process, Watched) {
    let mut command = tributary(federation.path());
    command.args(["coordinator", "run.toml", "--new-federation", "--json-lines", "--address-file", "address"]);
    command.args(["--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0"]);
    let mut process = Process::start(command.args(more));
    appears(&federation.path().join("address"));
    let watched = Watched::new(&mut process);
    (process, watched)
}

/// What goes wrong without it: a machine that loses power at its first start never starts again.
#[test]
fn a_federation_that_was_half_made_is_finished_at_the_next_start() {
    let federation = Federation::new();
    endless(&federation);
    let folder = federation.path();
    let end = |(coordinator, _watched): (Process, Watched)| {
        coordinator.signal("TERM");
        coordinator.end();
        std::fs::remove_file(folder.join("address")).unwrap();
    };
    end(founded(&federation, 60));
    let read = |file: &str| std::fs::read(folder.join("federation/authority").join(file)).unwrap();
    let root = [read("root.key"), read("root.crt")];
    for lost in ["authority/issuing.crt", "authority/issuing.key", "authority/issued"] {
        std::fs::remove_file(folder.join("federation").join(lost)).unwrap();
    }
    std::fs::remove_dir_all(folder.join("federation/coordinator")).unwrap();
    let again = founded(&federation, 60);
    let _members =
        [("a", "0"), ("b", "1"), ("c", "2")].map(|(name, part)| joining(folder, &invite(folder, name), name, part));
    again.1.round_of(3);
    assert_eq!([read("root.key"), read("root.crt")], root);
    end(again);
}

/// What goes wrong without it: a coordinator that runs for longer than its certificate turns away all who come (back).
#[test]
fn a_coordinator_renews_its_own_certificate_while_it_serves() {
    const SECONDS: u64 = 6;
    let federation = Federation::new();
    endless(&federation);
    let folder = federation.path();
    let (coordinator, watched) = founded_with(&federation, &["--own-seconds", &SECONDS.to_string()]);
    let began = Instant::now();
    let own = || Credentials::load(&folder.join("federation/coordinator")).unwrap();
    let first = own();
    let token = |name| invite(folder, name);
    let _early = [joining(folder, &token("a"), "a", "0"), joining(folder, &token("b"), "b", "1")];
    let renewed = |event: &Value| event["text"].as_str().is_some_and(|text| text.contains("certificate was renewed"));
    watched.until("renewal", renewed);
    // The certificate with which both ports were opened is over: who comes now has seen another one.
    std::thread::sleep(Duration::from_secs(SECONDS).saturating_sub(began.elapsed()) + Duration::from_secs(1));
    let _late = joining(folder, &token("c"), "c", "2");
    watched.round_of(3);
    let last = own();
    assert_ne!(last.chain(), first.chain());
    assert_eq!(last.endpoint_secret(), first.endpoint_secret(), "a restart would be noticed as such");
    coordinator.signal("TERM");
    coordinator.end();
}

/// What goes wrong without it: a coordinator ends when its certificate could not be renewed, or ends up without one unheard.
#[test]
fn a_coordinator_that_cannot_renew_itself_says_so_and_serves_on() {
    let federation = Federation::new();
    endless(&federation);
    let folder = federation.path();
    let (coordinator, watched) = founded_with(&federation, &["--own-seconds", "8"]);
    say(folder, &["certs", "revoke", "federation/authority", "coordinator"]).ends_well();
    let refused = |event: &Value| {
        event["text"].as_str().is_some_and(|text| text.contains("was not renewed") && text.contains("revoked"))
    };
    watched.until("first try", refused);
    watched.until("second try", refused);
    coordinator.signal("TERM");
    coordinator.end();
}

/// What goes wrong without it: a root cannot be changed while a federation is at work.
#[test]
fn a_new_root_reaches_members_and_coordinator_with_their_renewals_and_lets_its_own_in() {
    let federation = Federation::new();
    endless(&federation);
    let folder = federation.path();
    let (coordinator, watched) = founded_with(&federation, &["--own-seconds", "6", "--member-seconds", "8"]);
    let members = [("a", "0"), ("b", "1")].map(|(name, part)| joining(folder, &invite(folder, name), name, part));
    appears(&folder.join("b/chain.pem"));
    // Another authority of the same federation; the old one vouches for it by its bundle.
    let hub = Credentials::load(&folder.join("federation/coordinator")).unwrap();
    say(folder, &["certs", "init", "next", "--federation", &hub.identity().federation]).ends_well();
    say(folder, &["certs", "issue", "next", "c", "--out", "c"]).ends_well();
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let both = format!("{}{}", read("federation/authority/root.crt"), read("next/root.crt"));
    for file in ["federation/authority/root.crt", "c/root.pem"] {
        std::fs::write(folder.join(file), &both).unwrap();
    }
    let began = Instant::now();
    for file in ["a/root.pem", "b/root.pem", "federation/coordinator/root.pem"] {
        while read(file) != both {
            assert!(began.elapsed() < PATIENCE, "{file} is as it was");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let port = read("address");
    let _c = client(&federation, "c", "2", port.trim());
    watched.round_of(3);
    drop(members);
    coordinator.signal("TERM");
    coordinator.end();
}

/// What goes wrong without it: two devices with one identity keep each other from all work, and nobody knows why.
#[test]
fn an_identity_that_is_in_use_twice_is_told_to_the_operator() {
    let federation = Federation::new();
    endless(&federation);
    federation.issue("a", "client");
    let Coordinator { mut process, address } = federation.coordinator(&[]);
    let watched = Watched::new(&mut process);
    let two = [(); 2].map(|()| {
        let state = tempfile::tempdir().unwrap();
        let more = ["--run", "run.toml", "--part", "0", "--quiet", "--state", state.path().to_str().unwrap()];
        (federation.client_with("a", &address, &more), state)
    });
    watched.notice("a", "in use from two places at once, 127.0.0.1 and 127.0.0.1: 4 connections in a row");
    drop(two);
}

fn invite(folder: &Path, name: &str) -> String {
    say(folder, &["certs", "invite", "federation/authority", name]).ends_well().out.trim().to_owned()
}

fn joining(folder: &Path, token: &str, identity: &str, part: &str) -> Process {
    let mut command = tributary(folder);
    command.args(["client", "--join", token, "--identity", identity, "--run", "run.toml", "--part", part]);
    command.arg("--quiet");
    Process::start(&mut command)
}

/// Two commands and a token: nobody carries a key, and nobody comes back for the renewal.
#[test]
fn devices_join_by_token_and_renew_while_they_train() {
    let federation = Federation::new();
    endless(&federation);
    let folder = federation.path();
    let (coordinator, watched) = founded(&federation, 8);
    let tokens = ["a", "b", "c"].map(|name| invite(folder, name));
    let members = ["a", "b", "c"].iter().zip(&tokens).enumerate();
    let mut members: Vec<_> =
        members.map(|(part, (name, token))| joining(folder, token, name, &part.to_string())).collect();
    watched.notice("c", "joined from 127.0.0.1");
    watched.round_of(3);
    let serial = |name: &str| Serial::of(&Credentials::load(&folder.join(name)).unwrap().chain()[0]).unwrap();
    let first = serial("a");

    // The token was good once. Who has joined does not need it any more.
    joining(folder, &tokens[0], "thief", "0").end().fails(5, &["used already", "revoke the member", "hint: "]);
    assert!(!folder.join("thief/chain.pem").exists());
    drop(members.remove(2));
    members.push(joining(folder, &tokens[2], "c", "2"));
    watched.round_of(3);

    // The first certificates end, and the connections with them: who is here after that came with another one.
    std::thread::sleep(Duration::from_secs(9));
    assert_ne!(serial("a"), first);
    watched.round_of(3);

    // Revocation needs no copy where the authority is at hand, and takes the renewed certificates too.
    say(folder, &["certs", "revoke", "federation/authority", "a"]).ends_well();
    members.remove(0).end().fails(5, &["revoked"]);
    watched.round_of(2);
    coordinator.signal("TERM");
    coordinator.end();
}

#[test]
fn what_is_no_token_of_this_federation_joins_nobody() {
    let federation = Federation::new();
    endless(&federation);
    let folder = federation.path();
    let (_coordinator, _watched) = founded(&federation, 3600);
    let token = invite(folder, "a");
    let join = |token: &str| -> Said { joining(folder, token, "a", "0").end() };
    let flip = |at: usize| {
        let digit = if &token[at..=at] == "0" { "1" } else { "0" };
        format!("{}{digit}{}", &token[..at], &token[at + 1..])
    };
    join(&flip(token.len() - 1)).fails(5, &["not known here", "hint: make a new token"]);
    join(&flip(token.len() - 70)).fails(5, &["no root with the fingerprint"]);
    join(&token[..token.len() - 1]).fails(2, &["not a join token", "hint: copy the whole line"]);
    // The fingerprint and the secret, with an address where nobody is.
    let nobody = format!("tributary-join://127.0.0.1:1/{}", &token[token.len() - 129..]);
    join(&nobody).fails(4, &["could not reach 127.0.0.1:1", "hint: "]);
    say(folder, &["certs", "invite", "federation/authority", "hub", "--role", "coordinator"])
        .fails(3, &["coordinators are not invited"]);
    say(folder, &["certs", "invite", "ca", "a"]).fails(2, &["not known where devices join", "hint: "]);
    // After all these the token is as good as before.
    let _member = joining(folder, &token, "a", "0");
    appears(&folder.join("a/chain.pem"));
}
