//! `kill -9` at random moments of a real run: it ends with the model of the run that nobody disturbed.
//!
//! The short form belongs to the suite. The long one: `TRIBUTARY_KILLS=1000 cargo test --release --test e2e kill_9 --
//! --nocapture`; with `TRIBUTARY_SEED=…` the victims and pauses are those of a printed seed, though two runs of real
//! processes are never quite the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tributary_common::id::{Round, Seed};
use tributary_common::rng::{self, Purpose};

use super::federation::{Federation, simulated};
use super::process::{Process, appears_in, say};

const CLIENTS: u64 = 3;

/// Rounds that take a tenth of a second each, so that a random moment is as likely in training as between rounds.
const RUN: &str = r#"
run = { name = "kill", seed = 3, rounds = ROUNDS }
cohort = { size = "all", wait_for = 3, quorum = 3, deadline = 300 }
input = { shape = [64], divide = 16, classes = 10 }
data = { source = "digits", partition = { kind = "iid", clients = 3 } }
model = { dtype = "f32", init = "he_normal", layers = [{ kind = "linear", out = 100 }, { kind = "relu" }, { kind = "linear", out = 10 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, epochs = 30, batch = 10 }
server = { optimizer = { kind = "sgd", lr = 1.0, momentum = 0.5 } }
"#;

fn from_outside(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn client(federation: &Federation, index: u64, address: &str) -> Process {
    let (name, part) = (format!("client-{index:03}"), index.to_string());
    let more = ["--run", "run.toml", "--part", &part, "--keep-alive", "0.5"];
    federation.client_with(&name, address, &more)
}

/// What goes wrong without it: an update that was acknowledged is lost with a process, or counts twice after a restart.
#[test]
fn kill_9_at_random_moments_changes_no_model() {
    let n_kills = from_outside("TRIBUTARY_KILLS").unwrap_or(10);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let seed = from_outside("TRIBUTARY_SEED").unwrap_or(u64::try_from(now).unwrap());
    println!("TRIBUTARY_SEED={seed}");
    let mut stream = rng::stream(Seed(seed), Round(0), None, Purpose::Faults);
    let federation = Federation::new();
    let file = federation.path().join("run.toml");
    // Every kill comes within two rounds of the one before.
    std::fs::write(&file, RUN.replace("ROUNDS", &(2 * n_kills + 2).to_string())).unwrap();
    let undisturbed = simulated(federation.path(), &file, &[]).pop().unwrap();
    let mut coordinator = federation.coordinator(&[]);
    let address = coordinator.address.clone();
    (0..CLIENTS).for_each(|index| federation.issue(&format!("client-{index:03}"), "client"));
    let mut clients: Vec<Process> = (0..CLIENTS).map(|index| client(&federation, index, &address)).collect();
    let mut events = coordinator.process.events();
    for _ in 0..n_kills {
        let n_events = 1 + stream.below(2 * (CLIENTS + 1));
        let is_wanted = |event: &serde_json::Value| event["event"] == "slot" || event["event"] == "round";
        let last = (0..n_events).map_while(|_| events.find(is_wanted)).last();
        assert!(last.is_some(), "the run ended before its last kill");
        // The moment itself is what is random here; nothing waits for it.
        std::thread::sleep(Duration::from_millis(stream.below(150)));
        let victim = stream.below(2 * CLIENTS);
        if victim < CLIENTS {
            let index = usize::try_from(victim).unwrap();
            clients[index].signal("KILL");
            clients[index] = client(&federation, victim, &address);
        } else {
            coordinator.process.signal("KILL");
            drop(coordinator);
            coordinator = federation.coordinator(&["--listen", &address]);
            events = coordinator.process.events();
        }
    }
    let rest: Vec<_> = events.collect();
    coordinator.process.end().ends_well();
    clients.into_iter().for_each(|client| drop(client.end().ends_well()));
    let done = rest.last().unwrap();
    let expected = undisturbed.split(' ').nth(1).unwrap();
    assert_eq!(done["model"].to_string(), expected, "after kills with TRIBUTARY_SEED={seed}");
    let folder = done["path"].as_str().unwrap().strip_suffix("/model.safetensors").unwrap();
    say(federation.path(), &["verify", folder]).ends_well();
    let story = say(federation.path(), &["inspect", folder, "--json"]).ends_well().document();
    for chapter in story["chapters"].as_array().unwrap() {
        assert_eq!((&chapter["accepted"], &chapter["attempt"]), (&CLIENTS.into(), &0.into()), "{chapter}");
    }
}

/// What goes wrong without it: a device that loses power after a day of training has trained for nothing.
#[test]
fn an_update_that_was_finished_while_nobody_listened_survives_its_client() {
    let federation = Federation::new();
    let file = federation.path().join("run.toml");
    let alone = [
        ("ROUNDS", "1"),
        ("wait_for = 3", "wait_for = 1"),
        ("quorum = 3", "quorum = 1"),
        ("epochs = 30", "epochs = 60"),
    ];
    let text = alone.iter().fold(RUN.to_owned(), |text, (from, to)| text.replace(from, to));
    std::fs::write(&file, text.replace("clients = 3", "clients = 1")).unwrap();
    let undisturbed = simulated(federation.path(), &file, &[]).pop().unwrap();
    let coordinator = federation.coordinator(&[]);
    let address = coordinator.address.clone();
    federation.issue("client-000", "client");
    let mut first = client(&federation, 0, &address);
    first.says("got the model");
    coordinator.process.signal("KILL");
    drop(coordinator);
    appears_in(&federation.path().join("client-000/outbox"), "update");
    first.signal("KILL");
    drop(first);
    let coordinator = federation.coordinator(&["--listen", &address]);
    let second = client(&federation, 0, &address);
    let done = coordinator.process.end().ends_well().events().pop().unwrap();
    assert_eq!(done["model"].to_string(), undisturbed.split(' ').nth(1).unwrap());
    let said = second.end().ends_well().err;
    assert!(said.contains("counts") && !said.contains("got the model"), "{said}");
    assert_eq!(std::fs::read_dir(federation.path().join("client-000/outbox")).unwrap().count(), 0);
}
