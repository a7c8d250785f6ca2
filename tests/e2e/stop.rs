//! A stop is a pause: what was committed stays, everybody is told, and the run goes on to the same model.

use std::time::{Duration, Instant};

use super::federation::{Federation, models, same, simulated};
use super::process::{Process, example, run, tributary};

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
