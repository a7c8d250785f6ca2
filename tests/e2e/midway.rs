//! `kill -9` while an update is on its way: of the coordinator, of its client, of both.

use std::time::Duration;

use super::federation::{Coordinator, Federation, models, same, simulated};
use super::process::Process;
use super::proxy::{Proxy, Trouble, Way};
use super::transfer::{bound, say};

/// Values of four bytes: 64 · 60,000 + 60,000 weights into the hidden layer, 60,000 · 10 + 10 out of it.
const BYTES: u64 = 4 * (65 * 60_000 + 60_000 * 10 + 10);

const ROUNDS: u64 = 2;

/// Rounds with little work and much to send.
const RUN: &str = r#"
run = { name = "midway", seed = 3, rounds = 2 }
cohort = { size = "all", wait_for = 1, quorum = 1, deadline = 300 }
input = { shape = [64], divide = 16, classes = 10 }
data = { source = "digits", partition = { kind = "iid", clients = 1 } }
model = { init = "he_normal", layers = [{ kind = "linear", out = 60000 }, { kind = "relu" }, { kind = "linear", out = 10 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, steps = 1, batch = 10 }
server = { optimizer = { kind = "sgd", lr = 1.0, momentum = 0.5 } }
"#;

/// How long the first half of an update may take.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    Both,
    Client,
    Coordinator,
}

fn client(federation: &Federation, proxy: &Proxy) -> Process {
    let more = ["--run", "run.toml", "--part", "0", "--keep-alive", "0.5"];
    federation.client_with("client-000", &proxy.address.to_string(), &more)
}

/// Half of the first update arrives, then nothing passes any more, then there is a kill.
fn kill(victims: Victims) {
    let federation = Federation::new();
    let file = federation.path().join("run.toml");
    std::fs::write(&file, RUN).unwrap();
    federation.issue("client-000", "client");
    let Coordinator { mut process, address } = federation.coordinator(&[]);
    let mut events = process.events();
    let (deployed, sent, connections, said) = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let half = BYTES / 2;
        let troubles = vec![(Way::Up, half, Trouble::Cut), (Way::Up, half, Trouble::Tell)];
        let proxy = Proxy::new(address.parse().unwrap(), troubles).await;
        let mut member = client(&federation, &proxy);
        tokio::time::timeout(LONGEST, proxy.told.notified()).await.expect("half of an update is on its way");
        if victims != Victims::Client {
            process.kill();
            process = federation.coordinator(&["--listen", &address]).process;
            events = process.events();
        }
        if victims != Victims::Coordinator {
            member.kill();
            member = client(&federation, &proxy);
        }
        proxy.mend();
        // The proxy's tasks go on beside it.
        let rest = tokio::task::spawn_blocking(move || events.collect::<Vec<_>>()).await.unwrap();
        process.end().ends_well();
        let said = member.end().ends_well().err;
        (models(&rest), proxy.bytes(Way::Up), proxy.connections(), said)
    });
    same(&deployed, &simulated(federation.path(), &file, &[]));
    say(&format!("{victims:?}: {} bytes over {connections} connections sent {sent}", ROUNDS * BYTES));
    assert!(sent <= bound(ROUNDS * BYTES, connections), "{victims:?}: {sent} bytes over {connections} connections");
    // What was trained is not trained again: the model of the first round came once, that of the second round once.
    let n_trained = said.matches("got the model").count();
    let expected = if victims == Victims::Coordinator { 2 } else { 1 };
    assert_eq!(n_trained, expected, "{victims:?}: {said}");
}

/// What goes wrong without it: a large update on a slow way begins anew after every restart, and on a way that is slow enough
/// never arrives.
#[test]
fn kill_9_in_the_middle_of_an_upload_sends_only_the_rest_again_and_changes_no_model() {
    [Victims::Coordinator, Victims::Client, Victims::Both].into_iter().for_each(kill);
}
