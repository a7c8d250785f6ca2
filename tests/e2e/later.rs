//! What the coordinator's disk does not take is not its client's failure: the update is kept, and given later.

use std::path::PathBuf;

use super::federation::{Coordinator, Federation, models, same, simulated};
use super::process::{Events, Process, run, tributary};

/// Updates of a megabyte, which go to files.
const RUN: &str = r#"
run = { name = "later", seed = 3, rounds = 2 }
cohort = { size = "all", wait_for = 1, quorum = 1, deadline = 300 }
input = { shape = [64], divide = 16, classes = 10 }
data = { source = "digits", partition = { kind = "iid", clients = 1 } }
model = { init = "he_normal", layers = [{ kind = "linear", out = 3500 }, { kind = "relu" }, { kind = "linear", out = 10 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, steps = 1, batch = 10 }
"#;

/// A run whose only client comes to a coordinator that has no place for its update.
struct Begun {
    federation: Federation,
    process: Process,
    /// Read to the end, or kept: a coordinator whose output nobody takes ends.
    events: Events,
    /// Where there is none.
    place: PathBuf,
    client: Process,
    address: String,
}

impl Begun {
    fn new(run: &str) -> Self {
        let federation = Federation::new();
        std::fs::write(federation.path().join("run.toml"), run).unwrap();
        federation.issue("client-000", "client");
        let Coordinator { mut process, address } = federation.coordinator(&[]);
        let mut events = process.events();
        events.until("run");
        let place = federation.path().join("runs/later-001/partial");
        std::fs::remove_dir(&place).unwrap();
        let client = federation.client("client-000", "0", &address);
        Self { federation, process, events, place, client, address }
    }
}

/// What goes wrong without it: an error of the coordinator's disk empties the outboxes of its clients, and each trains again.
#[test]
fn an_update_for_which_there_is_no_place_is_kept_until_there_is_one() {
    let Begun { federation, process, events, place, client, .. } = Begun::new(RUN);
    client.says("postponed for");
    assert_eq!(std::fs::read_dir(federation.path().join("client-000/outbox")).unwrap().count(), 1);
    std::fs::create_dir(&place).unwrap();
    let events: Vec<_> = events.collect();
    process.end().ends_well();
    let said = client.end().ends_well().err;
    // That of the first round was heard before.
    assert_eq!(said.matches("got the model").count(), 1, "the client trained again:\n{said}");
    let is_told =
        |event: &&serde_json::Value| event["text"].as_str().is_some_and(|text| text.contains("are not taken"));
    assert_eq!(events.iter().filter(is_told).count(), 1, "the operator hears of it, once: {events:?}");
    same(&models(&events), &simulated(federation.path(), &federation.path().join("run.toml"), &[]));
}

/// What goes wrong without it: a disk that fails for an hour ends the run, its clients go, and its operator is told to ask
/// for fewer of them.
#[test]
fn a_run_whose_updates_no_disk_takes_pauses_until_one_does() {
    let Begun { federation, process, events, client, address, .. } =
        Begun::new(&RUN.replace("deadline = 300", "deadline = 2"));
    process.end().fails(1, &["could not be taken", "not taken: client-000 (", "see that the disk", "keep their work"]);
    drop(events);
    let story = run(tributary(federation.path()).args(["inspect", "runs/later-001"])).ends_well().out;
    assert!(story.contains("not taken: client-000 ("), "{story}");
    // Another process makes the place anew.
    let rest = federation.coordinator(&["--listen", &address]).process.end().ends_well();
    let said = client.end().ends_well().err;
    assert!(said.contains("postponed for") && said.contains("stopped for a while"), "{said}");
    same(&models(&rest.events()), &simulated(federation.path(), &federation.path().join("run.toml"), &[]));
}
