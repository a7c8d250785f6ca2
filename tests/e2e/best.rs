//! The best version is the one whose measures are best, also where they come when there is a later one.

use tributary_common::id::{Ticket, Version};
use tributary_common::message::{Answer, Ready, Request, Results, ToCoordinator};
use tributary_common::metrics::{Classification, Metrics};
use tributary_common::net;
use tributary_common::parameters::safetensors;

use super::federation::Federation;
use super::hostile::Liar;

/// Takes the next round with an update of this value everywhere.
async fn train(client: &mut Liar, value: f64) {
    let offer = client.offer().await;
    client.say(&ToCoordinator::Accept { ticket: offer.ticket }).await;
    let (put, bytes) = client.honest(&offer, value);
    client.put(put, &bytes).await;
    client.heard(offer.ticket).await;
}

/// Waits until `version` is to be measured.
async fn asked(judge: &mut Liar, version: u64) -> Ticket {
    let ticket = Ticket::Evaluate { version: Version(version) };
    judge.offer_of(|offered| offered == ticket).await;
    judge.say(&ToCoordinator::Accept { ticket }).await;
    ticket
}

/// Reports so many of ten examples as recognised.
async fn measure(judge: &Liar, ticket: Ticket, correct: u32) {
    let mut counts = Classification::new(10).unwrap();
    (0..10).for_each(|i| counts.count(0, u32::from(i >= correct)).unwrap());
    let results = Box::new(Results { central: Some(Metrics::Classification(counts)), ..Results::default() });
    let (mut send, mut recv) = judge.connection.open_bi().await.unwrap();
    net::write_message(&mut send, &Request::Report { ticket, results }).await.unwrap();
    let answer: Answer = net::read_message(&mut recv).await.unwrap();
    assert!(matches!(answer, Answer::Permit { .. }), "{answer:?}");
}

/// What goes wrong without it: people deploy a version that was never the best.
#[test]
fn the_best_version_is_marked_while_a_later_one_is_being_made() {
    let federation = Federation::new();
    federation.run_file(&[
        ("rounds = 50", "rounds = 3"),
        ("wait_for = 10", "wait_for = 1"),
        ("quorum = 10", "quorum = 1"),
        ("on = [\"train\", \"central\"]", "on = [\"central\"]"),
    ]);
    federation.issue("ann", "client");
    federation.issue("judge", "evaluator");
    let mut coordinator = federation.coordinator(&["--out", "run"]);
    let play = async {
        let mut judge = Liar::connect(&federation, "judge", &coordinator.address).await;
        judge.say(&ToCoordinator::Ready(Ready { examples: 0, holdout: 10 })).await;
        let mut ann = Liar::connect(&federation, "ann", &coordinator.address).await;
        ann.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
        train(&mut ann, 1e-3).await;
        let first = asked(&mut judge, 1).await;
        // All of the second round is here: its commit waits only for the measures of the first version.
        train(&mut ann, 2e-3).await;
        measure(&judge, first, 9).await;
        let second = asked(&mut judge, 2).await;
        train(&mut ann, 3e-3).await;
        measure(&judge, second, 4).await;
        let third = asked(&mut judge, 3).await;
        measure(&judge, third, 5).await;
    };
    let longest = std::time::Duration::from_secs(60);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { tokio::time::timeout(longest, play).await.unwrap() });
    let events: Vec<_> = coordinator.process.events().collect();
    coordinator.process.end().ends_well();
    let rounds: Vec<_> = events.iter().filter(|event| event["event"] == "round").collect();
    let accuracies: Vec<_> = rounds.iter().map(|round| round["central"]["accuracy"].as_f64().unwrap()).collect();
    assert_eq!(accuracies, [0.9, 0.4, 0.5]);
    let best = safetensors::read(&federation.path().join("run/best.safetensors")).unwrap();
    assert_eq!(rounds[0]["model"], best.digest().to_string());
}
