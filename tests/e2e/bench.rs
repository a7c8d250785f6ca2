//! What a device can do is measured by the product's own parts, and told as one document.

use std::fs::{File, read_dir};
use std::time::Duration;

use serde_json::Value;

use super::federation::Federation;
use super::process::{Process, example, run, say, tributary};

fn measured(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    say(folder.path(), &[&["bench"], arguments, &["--json"]].concat()).ends_well().document()
}

/// A median of nothing, or of the wrong thing, would be found out by its order.
fn is_ordered(times: &Value) -> bool {
    let of = |name: &str| times[name].as_f64().unwrap();
    let order = [0.0, of("fastest"), of("lower_quartile"), of("median"), of("upper_quartile")];
    order.is_sorted() && of("fastest") > 0.0 && times["repetitions"].as_u64().unwrap() >= 1
}

#[test]
fn training_is_measured_by_step_by_client_and_by_evaluation() {
    let digits = example("digits.toml");
    let found = measured(&["train", digits.to_str().unwrap(), "--seconds", "0.05"]);
    assert!(["step_ms"].iter().all(|name| is_ordered(&found[name])), "{found}");
    assert!(is_ordered(&found["client"]["ms"]) && is_ordered(&found["evaluation"]["ms"]), "{found}");
    assert!(found["evaluation"]["ms"]["repetitions"].as_u64().unwrap() >= 5, "{found}");
    let pace = found["examples_per_second"].as_f64().unwrap();
    let expected = found["batch"].as_f64().unwrap() / found["step_ms"]["median"].as_f64().unwrap() * 1e3;
    assert!((pace / expected - 1.0).abs() < 1e-9, "{found}");
}

#[test]
fn adding_is_measured_beside_a_plain_addition() {
    let found = measured(&["fold", "--parameters", "10000", "--updates", "3", "--threads", "2", "--seconds", "0.01"]);
    assert!(["fold_ms", "addition_ms", "aggregation_ms"].iter().all(|name| is_ordered(&found[name])), "{found}");
    assert_eq!(found["updates"], 3);
}

#[test]
fn the_link_is_measured_beside_bare_quic() {
    let digits = example("digits.toml");
    let found = measured(&["link", digits.to_str().unwrap(), "--clients", "3", "--rounds", "4"]);
    assert!(is_ordered(&found["round_ms"]) && is_ordered(&found["bare_ms"]), "{found}");
    assert_eq!((&found["round_ms"]["repetitions"], &found["clients"]), (&4.into(), &3.into()));
}

/// What goes wrong without it: the link is not measured for a run that is to end at an accuracy.
#[test]
fn a_runs_targets_are_nothing_to_rounds_over_the_link() {
    let digits = example("digits.toml");
    let targets = ["--set", "evaluate.gate=0.5", "--set", "run.stop_at={central_accuracy=0.9}"];
    let found = measured(&[&["link", digits.to_str().unwrap(), "--rounds", "1"], &targets[..]].concat());
    assert!(is_ordered(&found["round_ms"]), "{found}");
}

/// What goes wrong without it: every update is refused, by a coordinator that checks what clients are to bound.
#[test]
fn updates_over_the_link_went_through_the_runs_stages() {
    let digits = example("digits.toml");
    let clip = "stages=[{kind=\"clip\",norm=0.05}]";
    let found = measured(&["link", digits.to_str().unwrap(), "--rounds", "1", "--set", clip]);
    assert!(is_ordered(&found["round_ms"]), "{found}");
}

#[test]
fn a_run_that_ends_before_its_rounds_says_why() {
    let (folder, cnn) = (tempfile::tempdir().unwrap(), example("mnist-cnn.toml"));
    // No link moves 27 MB in a millisecond.
    let deadline = ["--set", "cohort.deadline=0.001"];
    let said = say(folder.path(), &[&["bench", "link", cnn.to_str().unwrap()], &deadline[..]].concat());
    said.fails(1, &["error: the run ended below its quorum: 0 of 2 updates", "hint: raise cohort.deadline"]);
}

/// What goes wrong without it: whoever measures is asked to work, and costs the run a round.
#[test]
fn the_way_to_a_coordinator_is_measured_without_taking_part() {
    let federation = Federation::new();
    federation.run_file(&[]);
    federation.issue("visitor", "client");
    let mut coordinator = federation.coordinator(&["--set", "run.rounds=1000000"]);
    let address = coordinator.address.clone();
    let arguments = ["bench", "link", "--identity", "visitor", "--coordinator", &address, "--rounds", "3", "--json"];
    let measured = || say(federation.path(), &arguments).ends_well().document();
    let early = measured();
    assert_eq!((&early["version"], &early["download_ms"]["repetitions"]), (&0.into(), &3.into()), "{early}");
    assert!(is_ordered(&early["download_ms"]) && early["welcome_ms"].as_f64() > early["round_trip_ms"].as_f64());
    let _members = federation.members(10, &address);
    let mut events = coordinator.process.events();
    let told: Vec<Value> = events.by_ref().take_while(|event| event["event"] != "round").collect();
    assert!(told.iter().all(|event| event["client"] != "visitor"), "{told:?}");
    // Nobody reads on: the coordinator must not wait for that.
    drop(events);
    let late = measured();
    assert!(late["version"].as_u64() > Some(0) && late["download_ms"].is_null(), "{late}");
    assert_eq!(late["model_bytes"], early["model_bytes"]);
}

#[test]
fn the_way_to_a_coordinator_needs_an_identity_and_an_address() {
    let federation = Federation::new();
    let link = |more: &[&str]| say(federation.path(), &[&["bench", "link"], more].concat());
    link(&["--coordinator", "127.0.0.1:1"]).fails(2, &["--identity"]);
    link(&["--identity", "hub"]).fails(2, &["does not say where its coordinator is", "hint: give --coordinator"]);
    link(&["--identity", "none", "--coordinator", "127.0.0.1:1"]).fails(3, &["could not access `none/", "hint:"]);
    link(&["run.toml", "--identity", "hub"]).fails(2, &["cannot be used with"]);
}

/// What goes wrong without it: somebody reads the pace of loopback as that of the way to a coordinator.
#[test]
fn an_option_of_the_other_way_to_measure_a_link_is_refused() {
    let federation = Federation::new();
    let link = |more: &[&str]| say(federation.path(), &[&["bench", "link"], more].concat());
    link(&["run.toml", "--coordinator", "127.0.0.1:1"]).fails(2, &["cannot be used with", "--coordinator"]);
    let remote = ["--identity", "hub", "--coordinator", "127.0.0.1:1"];
    link(&[&remote[..], &["--set", "run.seed=1"]].concat()).fails(2, &["cannot be used with", "--set"]);
    link(&[&remote[..], &["--clients", "7"]].concat()).fails(2, &["cannot be used with", "--clients"]);
}

/// What goes wrong without it: keys that sign certificates lie about in the temporary folder.
#[test]
fn nothing_is_left_of_a_measurement_that_is_interrupted() {
    for signal in ["INT", "TERM"] {
        let (folder, digits) = (tempfile::tempdir().unwrap(), example("digits.toml"));
        let mut command = tributary(folder.path());
        command.env("TMPDIR", folder.path()).args(["bench", "link", "--rounds", "10000"]).arg(digits);
        let process = Process::start(&mut command);
        let has_keys = || {
            let mut entries = read_dir(folder.path()).unwrap();
            entries.any(|entry| entry.unwrap().path().join("authority/issuing.key").exists())
        };
        while !has_keys() {
            std::thread::sleep(Duration::from_millis(5));
        }
        process.signal(signal);
        let said = process.end();
        assert_eq!((said.code, said.out.as_str()), (130, ""), "{}", said.err);
        assert!(read_dir(folder.path()).unwrap().next().is_none());
    }
}

#[test]
fn a_measurement_that_has_no_temporary_folder_says_what_it_is_for() {
    let (folder, digits) = (tempfile::tempdir().unwrap(), example("digits.toml"));
    let mut command = tributary(folder.path());
    command.env("TMPDIR", folder.path().join("nowhere")).args(["bench", "link"]).arg(digits);
    run(&mut command).fails(1, &["could not make a temporary folder for certificates", "hint: name another", "TMPDIR"]);
}

/// As little as can be measured of a fold.
const LITTLE: [&str; 8] = ["bench", "fold", "--parameters", "1000", "--updates", "1", "--seconds", "0.001"];

#[test]
fn a_measurement_says_in_words_what_it_is_of() {
    let (folder, digits) = (tempfile::tempdir().unwrap(), example("digits.toml"));
    let check = |arguments: &[&str], parts: &[&str]| {
        let said = say(folder.path(), arguments).ends_well();
        for part in parts {
            assert!(said.out.contains(part), "`{part}` is not said:\n{}", said.out);
        }
    };
    check(&LITTLE, &["model           1000 parameters, 4.0 kB\n", " for 1 update on 1 thread\n"]);
    let link = ["bench", "link", digits.to_str().unwrap(), "--rounds", "1", "--clients", "1"];
    check(&link, &["model           4810 parameters, 19.2 kB\n", " 1 time), 1 client, 19.2 kB down and up\n"]);
}

/// What goes wrong without it: a full disk keeps half a result, and the script that reads it is told that all is well.
#[test]
fn a_result_that_cannot_be_written_is_a_failure_unless_its_reader_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = tributary(folder.path());
        command.args(LITTLE);
        command
    };
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut process = command();
    let child = process.stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("error: could not write the result: No space left on device"), "{said}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = command().stdout(writer).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

/// What goes wrong without it: whoever reads line by line finds no object in any of them.
#[test]
fn a_document_is_one_line_where_lines_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let lines = |format| say(folder.path(), &[&LITTLE[..], &[format]].concat()).ends_well();
    let one = lines("--json-lines");
    assert_eq!(one.out.lines().count(), 1, "{}", one.out);
    assert_eq!(one.document()["bench"], "fold");
    let indented = lines("--json");
    assert!(indented.out.lines().count() > 5, "{}", indented.out);
    assert_eq!(indented.document()["bench"], "fold");
}

#[test]
fn a_measurement_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    say(folder.path(), &["bench", "fold", "--updates", "0"]).fails(2, &["0 is not in 1..=10000"]);
    say(folder.path(), &["bench", "train", "none.toml"]).fails(3, &["could not read run file `none.toml`", "hint:"]);
}

/// What goes wrong without it: the command dies of a failed allocation, or the system ends another process for it.
#[test]
fn an_aggregation_that_has_no_room_is_refused_before_anything_is_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let most = ["bench", "fold", "--updates", "10000", "--parameters", "1073741824"];
    let parts = ["10000 updates of 4.3 GB take 43.0 TB of this machine's memory", "are free", "hint: give fewer"];
    say(folder.path(), &most).fails(3, &parts);
}
