//! A stop is a pause: what was committed stays, everybody is told, and the run goes on to the same model.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tributary_client::agent::Status;
use tributary_common::event::Event;
use tributary_common::id::Version;
use tributary_common::parameters::Parameters;
use tributary_coordinator::store::{Error, Memory, Retained, Store};

use super::federation::{Coordinator, Federation, models, same, simulated};
use super::process::{Process, appears_in, example, run, tributary};
use super::transfer::{Setting, loopback};

/// Two clients whose trainings take about a second each.
const RUN: &str = r#"
run = { name = "pause", seed = 3, rounds = 2 }
cohort = { size = "all", wait_for = 2, quorum = 2, deadline = 300 }
input = { shape = [64], divide = 16, classes = 10 }
data = { source = "digits", partition = { kind = "iid", clients = 2 } }
model = { init = "he_normal", layers = [{ kind = "linear", out = 100 }, { kind = "relu" }, { kind = "linear", out = 10 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, epochs = 150, batch = 10 }
server = { optimizer = { kind = "sgd", lr = 1.0, momentum = 0.5 } }
"#;

/// A run of [`RUN`] whose two clients have begun to train.
struct Begun {
    federation: Federation,
    first: Coordinator,
    clients: Vec<Process>,
}

impl Begun {
    fn new() -> Self {
        let federation = Federation::new();
        std::fs::write(federation.path().join("run.toml"), RUN).unwrap();
        let first = federation.coordinator(&[]);
        let clients = ["0", "1"].map(|part| {
            let name = format!("client-00{part}");
            federation.issue(&name, "client");
            federation.client(&name, part, &first.address)
        });
        clients.iter().for_each(|client| client.says("got the model"));
        Self { federation, first, clients: clients.into() }
    }

    /// Waits until both updates are finished; nobody takes them meanwhile.
    fn finish(&self) {
        for name in ["client-000", "client-001"] {
            appears_in(&self.federation.path().join(name).join("outbox"), "update");
        }
    }

    /// Waits for the end of the first process, and goes on with another to the models of a run that nobody disturbed.
    /// Nobody trains twice for one round.
    fn goes_on(self, code: i32, parts: &[&str]) {
        let Self { federation, first, clients } = self;
        first.process.end().fails(code, parts);
        // Without --resume: an unfinished run of the same configuration goes on by itself.
        let second = federation.coordinator(&["--listen", &first.address]);
        let rest = second.process.end().ends_well();
        assert!(rest.err.contains("going on"), "{}", rest.err);
        for client in clients {
            let said = client.end().ends_well().err;
            assert!(said.contains("the coordinator stopped for a while"), "{said}");
            // That of the first round was heard before.
            assert_eq!(said.matches("got the model").count(), 1, "a client trained again:\n{said}");
        }
        let file = federation.path().join("run.toml");
        same(&models(&rest.events()), &simulated(federation.path(), &file, &[]));
    }
}

/// What goes wrong without it: a planned restart in the middle of a round throws away what every client has computed.
#[test]
fn a_stop_in_the_middle_of_a_round_costs_no_client_its_training() {
    let begun = Begun::new();
    begun.first.process.signal("TERM");
    begun.goes_on(130, &[]);
}

/// What goes wrong without it: a planned restart empties the outboxes of those that have just finished.
#[test]
fn a_stop_leaves_finished_updates_in_their_outboxes_and_the_next_process_takes_them() {
    let begun = Begun::new();
    begun.first.process.signal("STOP");
    begun.finish();
    begun.first.process.signal("TERM");
    begun.first.process.signal("CONT");
    begun.goes_on(130, &[]);
}

/// What goes wrong without it: a disk that fails once ends the run for everybody, and the next start begins another one.
#[test]
fn a_store_that_fails_pauses_the_run_and_the_next_process_goes_on_inside_it() {
    let begun = Begun::new();
    // No update is here yet: what is taken away is the place for them.
    begun.first.process.signal("STOP");
    std::fs::remove_dir_all(begun.federation.path().join("runs/pause-001/updates")).unwrap();
    begun.finish();
    begun.first.process.signal("CONT");
    begun.goes_on(1, &["the store failed", "updates", "goes on where it stopped"]);
}

/// A store that cannot keep what is told of a slot.
struct Full(Memory);

impl Store for Full {
    fn keep(&self, version: Version, model: &Parameters, optimizer: &[u8]) -> Result<Retained, Error> {
        self.0.keep(version, model, optimizer)
    }

    fn mark_best(&self, version: Version) -> Result<(), Error> {
        self.0.mark_best(version)
    }

    fn event(&self, event: &Event) -> Result<(), Error> {
        match event {
            Event::Slot(_) => Err(Error::Io { path: "events.jsonl".into(), source: ErrorKind::StorageFull.into() }),
            _ => Ok(()),
        }
    }

    fn model_path(&self) -> Option<PathBuf> {
        None
    }

    fn folder(&self) -> Option<PathBuf> {
        None
    }

    fn spool(&self) -> Option<PathBuf> {
        None
    }
}

/// What goes wrong without it: clients of a coordinator whose events cannot be written wait for their idle timeout.
#[test]
fn whatever_fails_in_the_coordinator_its_clients_are_told_to_come_back() {
    let setting = Setting::new(1);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let server = setting.server(loopback());
        let address = server.address().unwrap();
        let suspended = CancellationToken::new();
        let tell = |status| match status {
            Status::Suspended => suspended.cancel(),
            Status::Finished(done) => panic!("it is told that the run is over: {done:?}"),
            _ => {}
        };
        let run = setting.run(Arc::new(Full(Memory)), None);
        let serving = async {
            let failed = server.serve(run, CancellationToken::new(), |_| {}).await.unwrap_err();
            assert!(failed.to_string().contains("events.jsonl"), "{failed}");
            suspended.cancelled().await;
        };
        tokio::select! {
            () = setting.client_that_tells(address, None, tell) => panic!("it does not come back"),
            () = serving => {}
        }
    });
}

#[test]
fn an_interrupted_simulation_resumes_to_the_same_models() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let whole = simulated(folder.path(), &file, &["--set", "run.rounds=400"]);
    let simulate = |more: &[&str]| {
        let mut command = tributary(folder.path());
        command.arg("sim").arg(&file).args(["--json-lines", "--out", "here", "--set", "run.rounds=400"]).args(more);
        command
    };
    let mut process = Process::start(&mut simulate(&[]));
    let mut events = process.events();
    let mut seen = vec![events.until("round")];
    process.signal("INT");
    seen.extend(events);
    assert_eq!(process.end().code, 130);
    assert_eq!(seen.last().unwrap()["reason"], "suspended");
    let rest = run(&mut simulate(&["--resume"])).ends_well().events();
    let both = [models(&seen), models(&rest)].concat();
    assert!(models(&seen).len() < 400, "it was over before it was stopped");
    same(&both, &whole);
}

/// What goes wrong without it: somebody looks for a run to resume that was never kept.
#[test]
fn an_interrupted_simulation_says_that_it_can_go_on_only_where_it_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    for (kept, lost, place) in [
        ("it can go on", "nothing of it was kept", &["--out", "here"][..]),
        ("nothing of it was kept", "it can go on", &["--no-out"]),
    ] {
        let mut command = tributary(folder.path());
        command.arg("sim").arg(example("digits.toml")).args(["--set", "run.rounds=100000"]).args(place);
        let process = Process::start(&mut command);
        process.says("round");
        process.signal("INT");
        let said = process.end();
        assert_eq!(said.code, 130);
        assert!(said.out.contains(kept) && !said.out.contains(lost), "{}", said.out);
    }
}

#[test]
fn a_coordinator_that_is_terminated_tells_its_clients_and_finds_them_again() {
    let federation = Federation::new();
    // Ten clients in one process would hide that each of them comes back by itself.
    let file = federation.run_file(&[
        ("rounds = 50", "rounds = 60"),
        ("wait_for = 10", "wait_for = 2"),
        ("clients = 10", "clients = 2"),
        ("quorum = 10", "quorum = 2"),
    ]);
    let mut first = federation.coordinator(&[]);
    let mut clients = federation.members(2, &first.address);
    let judge = clients.pop().unwrap();
    let mut events = first.process.events();
    let mut seen = vec![events.until("round")];
    first.process.signal("TERM");
    let began = Instant::now();
    seen.extend(events);
    assert_eq!(first.process.end().code, 130);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?} to stop", began.elapsed());
    // Without --resume: an unfinished run of the same configuration goes on by itself.
    let second = federation.coordinator(&["--listen", &first.address]);
    let rest = second.process.end().ends_well().events();
    for client in clients {
        let said = client.end().ends_well();
        assert!(said.err.contains("the coordinator stopped for a while"), "{}", said.err);
    }
    judge.end().ends_well();
    same(&[models(&seen), models(&rest)].concat(), &simulated(federation.path(), &file, &[]));
}
