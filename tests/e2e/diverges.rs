//! A client whose training diverges: who it is, in which step, what to do, and that nothing of it counts.

use std::path::Path;

use serde_json::Value;

use super::process::{run, say, tributary};

/// A run of a client for each place in the last column.
fn run_file(folder: &Path, name: &str, rows: &[&str]) -> String {
    let text = r#"
        run = { name = "places", seed = 3, rounds = 2 }
        cohort = { size = "all", quorum = 2, wait_for = CLIENTS }
        input = { shape = [1], classes = 2, label = "label", drop = ["place"] }
        data = { source = "csv:NAME.csv", partition = { kind = "natural", column = "place" } }
        model = { init = "zeros", layers = [{ kind = "linear", out = 2 }] }
        train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, steps = 4, batch = "all" }
        evaluate = { on = [] }
    "#;
    let mut places: Vec<_> = rows.iter().map(|row| row.rsplit(',').next()).collect();
    places.dedup();
    let clients = places.len().to_string();
    std::fs::write(folder.join(format!("{name}.toml")), text.replace("CLIENTS", &clients).replace("NAME", name))
        .unwrap();
    std::fs::write(folder.join(format!("{name}.csv")), format!("x,label,place\n{}\n", rows.join("\n"))).unwrap();
    format!("{name}.toml")
}

/// Two ordinary clients, and a third whose value is within the type and beyond everything that can be learned with it: the
/// first step leaves a weight of that size, and the second one's loss is not finite.
const SANE: [&str; 4] = ["-1,0,a", "1,1,a", "-2,0,b", "2,1,b"];
const HUGE: &str = "1e30,0,c";

fn models(events: &[Value]) -> Vec<(String, u64)> {
    let rounds = events.iter().filter(|event| event["event"] == "round");
    rounds.map(|round| (round["model"].as_str().unwrap().to_owned(), round["weight"].as_u64().unwrap())).collect()
}

#[test]
fn who_diverges_is_named_with_its_step_and_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let without = run_file(folder.path(), "without", &SANE);
    let with = run_file(folder.path(), "with", &[&SANE[..], &[HUGE]].concat());
    let events = |command: &str, file: &str| {
        let out = format!("{command}-{file}");
        run(tributary(folder.path()).args([command, file, "--json", "--out", &out])).ends_well();
        let text = std::fs::read_to_string(folder.path().join(out).join("events.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let expected = models(&events("sim", &without));
    assert_eq!(expected.len(), 2);
    for command in ["sim", "demo"] {
        let events = events(command, &with);
        assert_eq!(models(&events), expected, "{command}");
        let declined: Vec<_> = events
            .iter()
            .filter(|event| event["event"] == "slot" && event["fate"] == "declined")
            .map(|event| (event["client"].as_str().unwrap(), event["reason"].as_str().unwrap()))
            .collect();
        assert_eq!(declined.len(), 2, "{command}: once a round");
        for (client, reason) in declined {
            assert_eq!(client, "client-002", "{command}");
            assert!(reason.contains("not finite in step 2 (hint: lower the learning rate"), "{command}: {reason}");
        }
    }
}

#[test]
fn a_model_that_diverges_cannot_be_timed_and_the_user_hears_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = run_file(folder.path(), "alone", &[HUGE]);
    say(folder.path(), &["bench", "train", &file, "--seconds", "0.01"])
        .fails(3, &["the loss is not finite in step 2", "hint: lower the learning rate"]);
}

/// What goes wrong without it: the last line tells to lower the quorum of a run that no client can train.
#[test]
fn a_run_whose_clients_all_diverge_ends_with_their_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = run_file(folder.path(), "all", &["1e30,0,a", "1e30,1,b"]);
    let said = say(folder.path(), &["sim", &file, "--no-out"]);
    said.fails(1, &["without a quorum", "\n  hint: lower the learning rate"]);
    assert!(!said.err.contains("lower cohort.quorum"), "{}", said.err);
}
