//! A run's folder as its owner handles it: looked at, checked, taken back to an earlier version.

use tributary_common::message::{Ready, ToClient, ToCoordinator};
use tributary_coordinator::store::{Durability, Folder, Keeping};

use super::federation::Federation;
use super::hostile::Liar;
use super::process::{example, run, say, tributary};

#[test]
fn a_run_is_inspected_verified_taken_back_and_goes_on_to_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let simulate = |more: &[&str]| {
        let mut command = tributary(folder.path());
        command.arg("sim").arg(example("digits.toml")).args(["--json-lines", "--out", "here"]);
        let events = run(command.args(["--set", "run.rounds=6"]).args(more)).ends_well().events();
        events.last().unwrap()["model"].as_str().unwrap().to_owned()
    };
    let model = simulate(&[]);
    let story = say(folder.path(), &["inspect", "here", "--json"]).ends_well().document();
    assert_eq!((story["version"].as_u64(), story["model"].as_str()), (Some(6), Some(model.as_str())));
    assert_eq!(story["chapters"].as_array().unwrap().len(), 6);
    assert!(say(folder.path(), &["verify", "here"]).ends_well().out.starts_with("whole: "));
    say(folder.path(), &["rollback", "here", "--to", "1"]).fails(3, &["could not go back", "these versions are kept"]);
    say(folder.path(), &["rollback", "here", "--to", "4"]).ends_well();
    assert_eq!(simulate(&["--resume"]), model);
    let told = say(folder.path(), &["inspect", "here"]).ends_well().out;
    assert!(told.contains("back to version 4") && told.contains("version 6, "), "{told}");
    assert_eq!(say(folder.path(), &["inspect", "here", "--json"]).document()["chapters"].as_array().unwrap().len(), 9);
}

#[test]
fn a_damaged_run_is_named_by_verify_and_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let simulate = |more: &[&str]| {
        let mut command = tributary(folder.path());
        run(command.arg("sim").arg(&file).args(["--out", "here", "--set", "run.rounds=3"]).args(more))
    };
    simulate(&[]).ends_well();
    let shown = folder.path().join("here/model.safetensors");
    let mut bytes = std::fs::read(&shown).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    // The file for people is another name of the kept one: written over in place, it takes the run's version along.
    std::fs::write(&shown, bytes).unwrap();
    say(folder.path(), &["verify", "here"]).fails(3, &["models/", "its digest is", "the journal says"]);
    simulate(&["--resume"]).fails(3, &["its digest is"]);
    std::fs::remove_file(folder.path().join("here/journal.sqlite")).unwrap();
    for wrong in ["here", "nowhere"] {
        for command in [&["inspect", wrong][..], &["verify", wrong], &["rollback", wrong, "--to", "1"]] {
            let said = say(folder.path(), command);
            said.fails(
                3,
                &["could not find a run", wrong, "holds no `journal.sqlite`", "hint: name the folder of a run"],
            );
        }
    }
    assert!(!folder.path().join("nowhere").exists());
}

/// What goes wrong without it: a coordinator that was killed in its first moment is stuck, because its folder holds neither
/// a run that could go on nor nothing.
#[test]
fn a_run_that_was_killed_before_its_first_row_begins_again_in_its_folder() {
    for more in [&[][..], &["--resume"]] {
        let folder = tempfile::tempdir().unwrap();
        let keeping = Keeping { durability: Durability::Power, models: 3 };
        drop(Folder::create(&folder.path().join("here"), "what there was", keeping).unwrap());
        let mut command = tributary(folder.path());
        command.arg("sim").arg(example("digits.toml")).args(["--json-lines", "--out", "here"]);
        let events = run(command.args(["--set", "run.rounds=2"]).args(more)).ends_well().events();
        assert_eq!(events.last().unwrap()["rounds"], 2);
        assert!(say(folder.path(), &["verify", "here"]).ends_well().out.starts_with("whole: "));
    }
}

/// What goes wrong without it: whoever holds an earlier receipt is told that it is forged.
#[test]
fn a_key_of_receipts_that_is_gone_is_told() {
    let federation = Federation::new();
    federation.run_file(&[
        ("wait_for = 10", "wait_for = 1"),
        ("quorum = 10", "quorum = 1"),
        ("on = [\"train\", \"central\"]", "on = []"),
    ]);
    federation.issue("ann", "client");
    let coordinator = federation.coordinator(&["--out", "run"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut ann = Liar::connect(&federation, "ann", &coordinator.address).await;
        ann.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
        let offer = ann.offer().await;
        let (put, bytes) = ann.honest(&offer, 1e-3);
        ann.put(put, &bytes).await;
        assert!(matches!(ann.heard(offer.ticket).await, ToClient::Receipt { .. }));
    });
    coordinator.process.signal("INT");
    coordinator.process.end();
    std::fs::remove_file(federation.path().join("run/receipt.key")).unwrap();
    let mut again = federation.coordinator(&["--out", "run", "--resume"]);
    let text = |event: &serde_json::Value| event["text"].as_str().unwrap_or_default().to_owned();
    assert!(again.process.events().any(|event| text(&event).contains("`receipt.key` is gone")));
}

/// What goes wrong without it: a service that starts the same command after a power cut finds its run and refuses it.
#[test]
fn an_unfinished_run_goes_on_whichever_way_it_is_named() {
    let federation = Federation::new();
    federation.run_file(&[("rounds = 50", "rounds = 2")]);
    let resume = ["coordinator", "run.toml", "--identity", "hub", "--listen", "127.0.0.1:0", "--resume"];
    say(federation.path(), &resume).fails(3, &["no unfinished run of", "without --resume"]);
    let stop = |more: &[&str], goes_on: bool| {
        let coordinator = federation.coordinator(more);
        coordinator.process.signal("INT");
        let ended = coordinator.process.end();
        assert_eq!((ended.code, ended.err.contains("going on")), (130, goes_on), "{}", ended.err);
    };
    stop(&[], false);
    let runs = || std::fs::read_dir(federation.path().join("runs")).unwrap();
    let folder = runs().next().unwrap().unwrap().path();
    let folder = folder.to_str().unwrap();
    for more in [&[][..], &["--resume"], &["--out", folder], &["--out", folder, "--resume"]] {
        stop(more, true);
    }
    assert_eq!(runs().count(), 1);
    let other = ["--set", "run.seed=77"];
    say(federation.path(), &[&resume[..], &other].concat()).fails(3, &["no unfinished run of"]);
    say(federation.path(), &[&resume[..6], &other, &["--out", folder]].concat()).fails(3, &["holds a run already"]);
}
