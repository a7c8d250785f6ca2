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
