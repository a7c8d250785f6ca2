//! What `tributary check` says before anything runs.

use super::process::{example, say};

/// The mean keeps a sum; a rule that looks at all updates keeps a block of each, and the rest on disk.
#[test]
fn memory_and_disk_are_those_of_the_aggregation_rule() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let check = |rule: &str| {
        let rule = format!("aggregate.rule=\"{rule}\"");
        say(folder.path(), &["check", file.to_str().unwrap(), "--json", "--set", &rule]).ends_well().document()
    };
    let (model, parameters, clients) = (19_240, 4_810, 10);
    // Two models, the server's momentum, and what the process itself takes.
    let always = 2 * model + 8 * parameters + (64 << 20);
    let mean = check("mean");
    assert_eq!(mean["coordinator_memory_bytes"], always + 8 * parameters);
    assert_eq!(mean["coordinator_disk_bytes"], 0);
    let median = check("median");
    assert_eq!(median["coordinator_memory_bytes"], always + clients * 8 * 4096 * 8);
    assert_eq!(median["coordinator_disk_bytes"], clients * model);
}

#[test]
fn the_bound_of_one_clients_weight_is_told_and_one_that_cannot_be_kept_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let check = |more: &[&str]| say(folder.path(), &[&["check", file.to_str().unwrap()], more].concat());
    let document = check(&["--json", "--set", "aggregate.max_weight_share=0.25"]).ends_well().document();
    assert_eq!(document["max_weight_share"], 0.25);
    assert_eq!(check(&["--json"]).ends_well().document()["max_weight_share"], serde_json::Value::Null);
    let said = check(&["--set", "aggregate.max_weight_share=0.05", "--set", "cohort.size=5"]);
    said.fails(3, &["of a cohort of 5 no client can be held to 0.05 of the weight", "hint: write at least 0.201"]);
}

/// What goes wrong without it: the command to type next starts another run than the one that was checked.
#[test]
fn the_next_command_is_of_the_run_that_was_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let set = ["--set", "run.rounds=2", "--set", "run.name='mine'"];
    let said = say(folder.path(), &[&["check", file.to_str().unwrap()], &set[..]].concat()).ends_well();
    let next = format!(r"sim {} --set run.rounds=2 --set 'run.name='\''mine'\'''", file.display());
    assert!(said.out.contains(&next), "{}", said.out);
}
