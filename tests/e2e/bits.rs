//! The simulation is the deployment: the same file commits the same models, bit for bit, however it is run.

use serde_json::Value;

use super::federation::{Federation, models, same, simulated};
use super::process::{example, run, tributary};

/// Bytes to clients and from them in each round.
fn bytes(document: &Value) -> Vec<(u64, u64)> {
    let of = |round: &Value, key: &str| round[key].as_u64().unwrap();
    document["rounds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|round| (of(round, "bytes_down"), of(round, "bytes_up")))
        .collect()
}

/// Without it a simulated result would say nothing about a deployed one.
#[test]
fn demo_and_simulation_commit_the_same_models() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let set = ["--set", "run.rounds=6"];
    let demo = run(tributary(folder.path()).arg("demo").arg(&file).args(["--json", "--out", "demo"]).args(set));
    let demo = demo.ends_well().document();
    let mut command = tributary(folder.path());
    let simulated_run =
        run(command.arg("sim").arg(&file).args(["--json", "--no-out"]).args(set)).ends_well().document();
    assert_eq!(bytes(&simulated_run), bytes(&demo), "what a client has already is not sent again, here as there");
    let demo: Vec<String> =
        demo["rounds"].as_array().unwrap().iter().map(|r| format!("{} {}", r["round"], r["model"])).collect();
    assert_eq!(demo.len(), 6);
    same(&simulated(folder.path(), &file, &set), &demo);
    for workers in ["1", "2", "3"] {
        let more = [&set[..], &["--workers", workers]].concat();
        same(&simulated(folder.path(), &file, &more), &demo);
    }
}

/// What goes wrong without it: the next round's updates count on the round that is still measured, and the last round has
/// none.
#[test]
fn every_round_has_its_own_bytes_where_the_next_begins_before_it_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["--set", "run.rounds=5", "--set", "evaluate.on=['central']", "--json"];
    for command in [&["sim", "--no-out"][..], &["demo", "--out", "demo"]] {
        let mut called = tributary(folder.path());
        let said = run(called.args(command).arg(example("digits.toml")).args(set)).ends_well();
        // A model of 4810 parameters of 4 bytes, to ten clients and an evaluator.
        assert_eq!(bytes(&said.document()), [(11 * 19_240, 10 * 19_240); 5], "{command:?}");
    }
}

/// The same over processes that are started one by one, with convolution, normalisation, dropout, clipping, epochs and a cohort.
#[test]
fn deployed_processes_and_simulation_commit_the_same_models() {
    let federation = Federation::new();
    let file = federation.run_file(&[
        ("rounds = 50", "rounds = 4"),
        ("size = \"all\"", "size = 3"),
        ("quorum = 10", "quorum = 3"),
        ("wait_for = 10", "wait_for = 4"),
        ("clients = 10", "clients = 4"),
        ("shape = [64]", "shape = [1, 8, 8]"),
        ("dtype = \"f64\"\ninit = \"zeros\"", "init = \"he_normal\""),
        (
            "layers = [{ kind",
            "layers = [{ kind = \"conv2d\", out = 4, kernel = 3, padding = 1 }, { kind = \"group_norm\", groups = 2 }, \"relu\", \
             { kind = \"max_pool2d\", size = 2 }, \
             \"flatten\", { kind = \"dropout\", p = 0.25 }, { kind",
        ),
        ("lr = 0.5", "lr = 0.05, momentum = 0.9"),
        ("steps = 5 ", "epochs = 1 "),
        ("batch = \"all\"", "batch = 16"),
        ("[run]", "stages = [{ kind = \"clip\", norm = 0.5 }]\n[run]"),
    ]);
    let coordinator = federation.coordinator(&[]);
    let members = federation.members(4, &coordinator.address);
    let deployed = models(&coordinator.process.end().ends_well().events());
    members.into_iter().for_each(|member| _ = member.end().ends_well());
    assert_eq!(deployed.len(), 4);
    same(&deployed, &simulated(federation.path(), &file, &[]));
}

/// Three clients that have little and one that has much, each holding some of it out.
const UNEVEN: &str = r#"
run = { name = "uneven", seed = 7, rounds = 3 }
cohort = { size = "all", wait_for = 4, quorum = 4, deadline = 300 }
input = { shape = [64], divide = 16, classes = 10 }
data = { source = "digits", partition = { kind = "quantity", clients = 4, beta = 0.2 }, test = { every = 5 }, holdout = 0.25 }
model = { init = "he_normal", layers = [{ kind = "linear", out = 10 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, epochs = 1, batch = 16 }
evaluate = { on = ["central"] }
"#;

/// What goes wrong without it: what a client may weigh follows from what it announced in a deployment, and from what the
/// simulation thinks that it would announce.
#[test]
fn deployed_processes_and_simulation_bound_a_clients_share_alike() {
    let federation = Federation::new();
    let file = federation.path().join("run.toml");
    std::fs::write(&file, format!("{UNEVEN}aggregate = {{ max_weight_share = 0.3 }}\n")).unwrap();
    let coordinator = federation.coordinator(&[]);
    let members = federation.members(4, &coordinator.address);
    let events = coordinator.process.end().ends_well().events();
    members.into_iter().for_each(|member| _ = member.end().ends_well());
    let deployed = models(&events);
    assert_eq!(deployed.len(), 3);
    same(&deployed, &simulated(federation.path(), &file, &[]));
    // As counted from the slots: nobody is above its share, and somebody was brought down to it.
    let weights: Vec<u64> = events
        .iter()
        .filter(|event| event["event"] == "slot" && event["round"] == 1)
        .map(|event| event["weight"].as_u64().unwrap())
        .collect();
    let (most, all) = (*weights.iter().max().unwrap(), weights.iter().sum::<u64>());
    assert!(weights.len() == 4 && 10 * most <= 3 * all, "{weights:?}");
    std::fs::write(&file, UNEVEN).unwrap();
    assert_ne!(deployed[0], simulated(federation.path(), &file, &[])[0], "{weights:?}");
}

/// Clients that are trained together share a run's bits with every number of workers, and its measures with those trained
/// alone.
#[test]
fn simulations_that_stack_clients_do_not_depend_on_workers() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let set = ["--set", "run.rounds=4"];
    let stacked = |workers| {
        let more = [&set[..], &["--stack", "4", "--workers", workers]].concat();
        simulated(folder.path(), &file, &more)
    };
    let one = stacked("1");
    same(&stacked("2"), &one);
    let accuracy = |more: &[&str]| {
        let arguments = [&["--json", "--no-out"], &set[..], more].concat();
        let document = run(tributary(folder.path()).arg("sim").arg(&file).args(arguments)).ends_well().document();
        document["rounds"][3]["central"]["accuracy"].as_f64().unwrap()
    };
    let (together, alone) = (accuracy(&["--stack", "10"]), accuracy(&["--stack", "1"]));
    // One of the 360 test examples may lie on the border between two classes.
    assert!((together - alone).abs() < 0.003, "{together} together, {alone} alone");
}
