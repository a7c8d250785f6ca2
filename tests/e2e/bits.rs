//! The simulation is the deployment: the same file commits the same models, bit for bit, however it is run.

use serde_json::Value;

use super::federation::{Federation, models, same, simulated};
use super::process::{example, run, tributary};

/// Bytes to clients and from them in all rounds.
fn bytes(document: &Value) -> (u64, u64) {
    let of = |key: &str| document["rounds"].as_array().unwrap().iter().map(|round| round[key].as_u64().unwrap()).sum();
    (of("bytes_down"), of("bytes_up"))
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
