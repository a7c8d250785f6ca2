//! Data that do not fit the run: said by the client, shown by the coordinator, and the run goes on if it can.

use tributary_common::message::{Ready, ToCoordinator};
use tributary_coordinator::server::Limits;

use super::federation::Federation;
use super::hostile::Liar;
use super::process::{example, say};

/// Three clients: two with their part of the digits, one with a table of another shape.
fn federation(quorum: &str) -> Federation {
    let federation = Federation::new();
    federation.run_file(&[
        ("rounds = 50", "rounds = 2"),
        ("wait_for = 10", "wait_for = 2"),
        ("clients = 10", "clients = 2"),
        ("quorum = 10", &format!("deadline = \"2s\"\nquorum = {quorum}")),
        ("on = [\"train\", \"central\"]", "on = [\"train\"]"),
    ]);
    for name in ["client-000", "client-001", "stranger"] {
        federation.issue(name, "client");
    }
    std::fs::write(federation.path().join("ward.csv"), "age,label\n61,0\n47,3\n").unwrap();
    federation
}

#[test]
fn a_client_whose_data_do_not_fit_is_shown_and_the_run_goes_on() {
    let federation = federation("2");
    let mut coordinator = federation.coordinator(&[]);
    let stranger = federation.client_with("stranger", &coordinator.address, &["--data", "csv:ward.csv"]);
    let mut events = coordinator.process.events();
    let notice = events.find(|event| event["event"] == "notice" && event["client"] == "stranger").unwrap();
    let text = notice["text"].as_str().unwrap();
    assert!(text.contains("cannot take part") && text.contains("ward.csv"), "{text}");
    assert!(!text.contains("61") && !text.contains("47"), "no value of the data leaves the client: {text}");
    let clients: Vec<_> = (0..2)
        .map(|index| federation.client(&format!("client-00{index}"), &index.to_string(), &coordinator.address))
        .collect();
    let rounds: Vec<_> = events.filter(|event| event["event"] == "round").collect();
    assert_eq!(rounds.iter().map(|round| round["clients"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 2]);
    coordinator.process.end().ends_well();
    clients.into_iter().for_each(|client| _ = client.end().ends_well());
    stranger.end().fails(3, &["the data do not fit the run", "ward.csv", "client --check"]);
}

/// A quorum that the fitting clients cannot meet: the run says what it waits for instead of spinning.
#[test]
fn a_run_that_cannot_meet_its_quorum_says_what_is_missing() {
    let federation = federation("3");
    let mut coordinator = federation.coordinator(&["--set", "cohort.size=3"]);
    let _stranger = federation.client_with("stranger", &coordinator.address, &["--data", "csv:ward.csv"]);
    let _clients: Vec<_> = (0..2)
        .map(|index| federation.client(&format!("client-00{index}"), &index.to_string(), &coordinator.address))
        .collect();
    let mut events = coordinator.process.events();
    let waiting = events.find(|event| {
        event["event"] == "notice"
            && event["text"].as_str().unwrap().contains("waiting for clients: 2 of 3 have joined")
    });
    assert!(waiting.is_some());
    coordinator.process.signal("INT");
    assert_eq!(coordinator.process.end().code, 130);
}

#[test]
fn check_says_whether_data_fit_without_joining() {
    let federation = federation("2");
    let check = |data: &str| say(federation.path(), &["client", "--check", "--run", "run.toml", "--data", data]);
    let said = check("digits").ends_well();
    assert!(said.out.contains("the data fit: 1797 examples to train on"), "{}", said.out);
    check("csv:ward.csv").fails(3, &["the data do not fit the run", "`ward.csv`", "1 (age)", "has 64 values", "hint:"]);
    check("csv:nowhere.csv").fails(3, &["nowhere.csv"]);
    check("cvs:ward.csv").fails(3, &["there is no such kind of source", "did you mean `csv`"]);
    let part = |part: &str| say(federation.path(), &["client", "--check", "--run", "run.toml", "--part", part]);
    assert!(part("1").ends_well().out.contains("the data fit"));
    part("2").fails(3, &["there is no part `2`"]);
}

/// A simulation refuses what a coordinator refuses at its door, in the same words.
#[test]
fn a_simulated_update_beyond_the_limit_is_refused_like_a_served_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("golden-fedsgd.toml");
    let far = "train.optimizer={kind=\"sgd\",lr=1e13}";
    let said = say(folder.path(), &["sim", file.to_str().unwrap(), "--no-out", "--set", far]);
    said.fails(1, &["without a quorum", "client-002 (tensor `0.bias`: coordinate 0 is -1", "beyond ±4294967296)"]);
}

/// What goes wrong without it: one member with a certificate fills the disk of the coordinator with its reasons.
#[test]
fn a_client_that_never_ends_to_give_reasons_is_told_of_a_few_times() {
    let federation = federation("2");
    let mut coordinator = federation.coordinator(&["--out", "run"]);
    let told = Limits::default().unfit_notices;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _liar = runtime.block_on(async {
        let mut liar = Liar::connect(&federation, "stranger", &coordinator.address).await;
        for _ in 0..3 * told {
            liar.say(&ToCoordinator::Unfit { reason: "so it is ".repeat(100) }).await;
        }
        liar.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
        liar
    });
    let is_last =
        |event: &serde_json::Value| event["text"].as_str().is_some_and(|text| text.contains("1 of 2 have joined"));
    let events: Vec<_> = coordinator.process.events().take_while(|event| !is_last(event)).collect();
    let notices = events.iter().filter(|event| event["event"] == "notice" && event["client"] == "stranger").count();
    assert_eq!(notices, told as usize);
}
