//! `kill -9` at random moments of real runs: they end with the models of the run that nobody disturbed, every acknowledged
//! update counted once, and every round told once with the measures that it has undisturbed.
//!
//! The short form belongs to the suite. The long one: `TRIBUTARY_KILLS=1000 cargo test --release --test e2e kill_9 --
//! --nocapture`; with `TRIBUTARY_SEED=…` the victims and pauses are those of a printed seed, though two runs of real
//! processes are never quite the same.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tributary_common::id::{Round, Seed};
use tributary_common::rng::{self, Purpose};
use tributary_coordinator::store::Journal;

use super::federation::{Coordinator, Federation, simulated};
use super::process::{Process, appears_in, from_outside, run, say, tributary};

const CLIENTS: u64 = 3;

/// Kills of all lanes together, in the short form.
const KILLS: u64 = 52;

/// Federations that are disturbed beside each other: most of the time of each is spent waiting for somebody to come back.
const LANES: u64 = 4;

/// Rounds that take a tenth of a second each, so that a random moment is as likely in training as between rounds.
const RUN: &str = r#"
run = { name = "kill", seed = 3, rounds = ROUNDS }
cohort = { size = "all", wait_for = 3, quorum = 3, deadline = 300 }
input = { shape = [64], divide = 16, classes = 10 }
data = { source = "digits", partition = { kind = "iid", clients = 3 }, test = { every = 5 } }
model = { dtype = "f32", init = "he_normal", layers = [{ kind = "linear", out = 100 }, { kind = "relu" }, { kind = "linear", out = 10 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, epochs = 30, batch = 10 }
server = { optimizer = { kind = "sgd", lr = 1.0, momentum = 0.5 } }
evaluate = { on = ["central"] }
"#;

fn client(federation: &Federation, index: u64, address: &str) -> Process {
    let (name, part) = (format!("client-{index:03}"), index.to_string());
    let more = ["--run", "run.toml", "--part", &part, "--keep-alive", "0.5"];
    federation.client_with(&name, address, &more)
}

fn judge(federation: &Federation, address: &str) -> Process {
    federation.client_with("judge", address, &["--run", "run.toml", "--part", "test", "--keep-alive", "0.5"])
}

/// What an undisturbed run tells of its rounds: number, model, measures.
fn told(events: &[Value]) -> Vec<String> {
    let rounds = events.iter().filter(|event| event["event"] == "round");
    rounds.map(|round| format!("{} {} {}", round["round"], round["model"], round["central"])).collect()
}

/// What a run's folder tells of its rounds.
fn told_in(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    told(&text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>())
}

/// Coordinator, clients and an evaluator, of which one is killed now and then.
struct Disturbed {
    federation: Federation,
    coordinator: Coordinator,
    address: String,
    /// The evaluator is the last one.
    members: Vec<Process>,
}

impl Disturbed {
    /// Starts the coordinator, and those of the members.
    fn start(run: &str, members: impl Iterator<Item = u64>) -> Self {
        let federation = Federation::new();
        std::fs::write(federation.path().join("run.toml"), run).unwrap();
        let coordinator = federation.coordinator(&[]);
        let address = coordinator.address.clone();
        (0..CLIENTS).for_each(|index| federation.issue(&format!("client-{index:03}"), "client"));
        federation.issue("judge", "evaluator");
        let members = members.map(|index| Self::member(&federation, index, &address)).collect();
        Self { federation, coordinator, address, members }
    }

    fn member(federation: &Federation, index: u64, address: &str) -> Process {
        if index < CLIENTS { client(federation, index, address) } else { judge(federation, address) }
    }

    /// As often the coordinator as one of the clients; says whether it was the coordinator. The evaluator lives: what is
    /// committed while it is away is not measured.
    fn kill(&mut self, stream: &mut rng::Stream) -> bool {
        let victim = stream.below(2 * CLIENTS);
        if victim < CLIENTS {
            let index = usize::try_from(victim).unwrap();
            self.members[index].kill();
            self.members[index] = Self::member(&self.federation, victim, &self.address);
            return false;
        }
        self.restart();
        true
    }

    fn restart(&mut self) {
        self.coordinator.process.kill();
        self.coordinator.process = self.federation.coordinator(&["--listen", &self.address]).process;
    }

    /// Kills so many and lets the run end; the last event, and the folder.
    fn disturb(mut self, n_kills: u64, stream: &mut rng::Stream) -> (Federation, Value, PathBuf) {
        let mut events = self.coordinator.process.events();
        for _ in 0..n_kills {
            let n_events = 1 + stream.below(2 * (CLIENTS + 1));
            let is_wanted = |event: &Value| event["event"] == "slot" || event["event"] == "round";
            let n_seen = (0..n_events).map_while(|_| events.find(is_wanted)).count() as u64;
            assert_eq!(n_seen, n_events, "the run ended before its last kill");
            // The moment itself is what is random here; nothing waits for it.
            std::thread::sleep(Duration::from_millis(stream.below(150)));
            if self.kill(stream) {
                events = self.coordinator.process.events();
            }
        }
        let done = events.last().unwrap();
        self.coordinator.process.end().ends_well();
        self.members.into_iter().for_each(|member| drop(member.end().ends_well()));
        let folder = PathBuf::from(done["path"].as_str().unwrap()).parent().unwrap().to_owned();
        let folder = self.federation.path().join(folder);
        (self.federation, done, folder)
    }
}

/// What goes wrong without it: an update that was acknowledged is lost with a process, or counts twice after a restart; a
/// round's measures are lost, or told twice.
#[test]
fn kill_9_at_random_moments_changes_no_model_and_no_measure() {
    let n_kills = from_outside("TRIBUTARY_KILLS").unwrap_or(KILLS).div_ceil(LANES);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let seed = from_outside("TRIBUTARY_SEED").unwrap_or(u64::try_from(now).unwrap());
    println!("TRIBUTARY_SEED={seed}");
    // Every kill comes within two rounds of the one before, and those that pass until the moment itself.
    let text = RUN.replace("ROUNDS", &(6 * n_kills + 10).to_string());
    let alone = tempfile::tempdir().unwrap();
    std::fs::write(alone.path().join("run.toml"), &text).unwrap();
    let undisturbed =
        run(tributary(alone.path()).args(["sim", "run.toml", "--no-out", "--json-lines", "--stack", "1"]));
    let undisturbed = told(&undisturbed.ends_well().events());
    let lane = |lane: u64| {
        let mut stream = rng::stream(Seed(seed), Round(lane), None, Purpose::Faults);
        let (federation, _, folder) = Disturbed::start(&text, 0..=CLIENTS).disturb(n_kills, &mut stream);
        let told = told_in(&folder);
        let differs = told.iter().zip(&undisturbed).find(|(got, expected)| got != expected);
        assert_eq!(differs, None, "after kills with TRIBUTARY_SEED={seed}, lane {lane}");
        assert_eq!(told.len(), undisturbed.len());
        let folder = folder.to_str().unwrap();
        say(federation.path(), &["verify", folder]).ends_well();
        let story = say(federation.path(), &["inspect", folder, "--json"]).ends_well().document();
        for chapter in story["chapters"].as_array().unwrap() {
            assert_eq!((&chapter["accepted"], &chapter["attempt"]), (&CLIENTS.into(), &0.into()), "{chapter}");
        }
    };
    let lane = &lane;
    std::thread::scope(|scope| (0..LANES).for_each(|index| drop(scope.spawn(move || lane(index)))));
}

/// Waits until the run in `folder` stands on this version.
fn stands_on(folder: &Path, version: u64) {
    let began = Instant::now();
    let found = || Some(Journal::look(folder).ok()?.versions().last()?.version.0);
    while found() != Some(version) {
        assert!(began.elapsed() < Duration::from_secs(60), "version {version} is not committed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What goes wrong without it: a kill between a commit and its evaluation loses the measures of the round, a stop target
/// that they reach is passed over, and a run whose last version was committed begins anew.
#[test]
fn a_version_that_was_not_measured_before_a_kill_is_measured_after_it() {
    for (rounds, stop_at, reason) in [("1", "", "rounds"), ("9", ", stop_at = { central_accuracy = 0.1 }", "stop_at")] {
        let text = RUN.replace("ROUNDS", &format!("{rounds}{stop_at}"));
        let mut disturbed = Disturbed::start(&text, 1..=CLIENTS);
        let folder = disturbed.federation.path().join("runs/kill-001");
        let judge = disturbed.members.pop().unwrap();
        judge.says("joined");
        let last = client(&disturbed.federation, 0, &disturbed.address);
        last.says("joined");
        // The evaluator has long said that it is there, so that the round opens; from now on it does not answer.
        judge.signal("STOP");
        disturbed.members.push(last);
        stands_on(&folder, 1);
        disturbed.restart();
        judge.signal("CONT");
        let events: Vec<Value> = disturbed.coordinator.process.events().collect();
        let done = events.last().unwrap();
        assert_eq!((&done["reason"], &done["rounds"]), (&reason.into(), &1.into()), "{done}");
        let told = told_in(&folder);
        assert!(told.len() == 1 && told[0].contains("accuracy"), "{told:?}");
        disturbed.coordinator.process.end().ends_well();
        judge.end().ends_well();
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
        ("evaluate = { on = [\"central\"] }", ""),
    ];
    let text = alone.iter().fold(RUN.to_owned(), |text, (from, to)| text.replace(from, to));
    std::fs::write(&file, text.replace("clients = 3", "clients = 1")).unwrap();
    let undisturbed = simulated(federation.path(), &file, &[]).pop().unwrap();
    let coordinator = federation.coordinator(&[]);
    let address = coordinator.address.clone();
    federation.issue("client-000", "client");
    let first = client(&federation, 0, &address);
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
