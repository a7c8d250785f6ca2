//! A coordinator inside one's own program: built from a run file's text, followed by its events, stopped by a token.
//!
//! ```text
//! cargo run --release --example embed_coordinator
//! ```
//!
//! What a program adds to the library is small: a certificate, an address, a store, and what to do with events. This one
//! ends the run as soon as the clients' own held-out digits please it, which a run file cannot say (`run.stop_at` looks at
//! an evaluator), and keeps the model.
//!
//! Two clients in the same process train with the built-in trainer, each on one half of the built-in digits.

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::{Authority, Credentials, RevocationFile};
use tributary_client::agent::{self, Membership, Settings};
use tributary_client::crew::{Crew, Held};
use tributary_client::data::Source;
use tributary_client::plan::Plan;
use tributary_common::config::Document;
use tributary_common::event::Event;
use tributary_common::id::{ClientId, RunId};
use tributary_common::identity::{Identity, Role};
use tributary_common::net::{IDLE_TIMEOUT, KEEP_ALIVE, Windows};
use tributary_coordinator::server::{Limits, Run, Server};
use tributary_coordinator::store::{Durability, Folder, Keeping};

const RUN: &str = r#"
run = { name = "halves", seed = 3, rounds = 100 }
cohort = { wait_for = 2, quorum = 2 }
input = { shape = [64], divide = 16, classes = 10 }
data = { holdout = 0.2 }
model = { layers = [{ kind = "linear", out = 10 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, epochs = 1, batch = 16 }
evaluate = { on = ["local"] }
"#;

/// The accuracy that is enough.
const ENOUGH: f64 = 0.9;

/// How long a certificate of this example is valid.
const HOUR: Duration = Duration::from_secs(3600);

/// Every second of the digits, from the first or the second on.
fn half(plan: &Plan, which: u32) -> Result<Held, Box<dyn Error>> {
    let all = Source::parse("digits")?.load("".as_ref(), &plan.input, None)?.train;
    let rows: Vec<u32> = (which..u32::try_from(all.len())?).step_by(2).collect();
    Ok(Held::all(all.select(&rows)))
}

/// A client of `coordinator` that holds one half, until it is told to stop.
async fn client(
    coordinator: String,
    credentials: Credentials,
    which: u32,
    stop: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let identity = credentials.identity();
    let load = move |plan: &Plan| half(plan, which).map_err(|error| error.to_string());
    let worker = Crew::new(identity.name.clone(), identity.role, Box::new(load));
    let settings = Settings {
        name: identity.name.clone(),
        coordinator,
        device: "cpu".to_owned(),
        give_up_after: Some(Duration::from_secs(30)),
        once: false,
        windows: Windows::default(),
        keep_alive: KEEP_ALIVE,
        idle: IDLE_TIMEOUT,
        permit_seconds: agent::PERMIT_SECONDS,
        models: None,
        outbox: None,
    };
    agent::run(settings, Membership::fixed(credentials), worker, stop, |_| {}).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    #[expect(clippy::disallowed_methods, reason = "certificates are valid from now on")]
    let now = SystemTime::now();
    let authority = Authority::create(&folder.path().join("authority"), "example", now)?;
    let issue = |role, name: ClientId| {
        let federation = authority.federation().to_owned();
        authority.issue(&Identity { federation, role, name }, HOUR, now)
    };

    let document = Document::parse("RUN", RUN)?;
    let kept = folder.path().join("run");
    let (store, journal) = Folder::create(&kept, RUN, Keeping { durability: Durability::Power, models: 3 })?;
    let mut run = Run::new(RunId(*b"example of halve"), &document, Arc::new(store))?;
    run.journal = Some(journal);
    let hub = issue(Role::Coordinator, "hub".parse()?)?;
    let revoked = RevocationFile::open(&folder.path().join("authority/revoked.crl"), hub.roots())?;
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), &hub, revoked, Limits::default())?;
    let address = server.address()?.to_string();
    println!("{} listens on {address}", hub.identity());

    // To a client a coordinator that was stopped is one that comes back; so the clients have a token of their own.
    let over = CancellationToken::new();
    let mut clients = JoinSet::new();
    for which in 0..2 {
        let credentials = issue(Role::Client, format!("half-{which}").parse()?)?;
        clients.spawn(client(address.clone(), credentials, which, over.clone()));
    }

    let stop = CancellationToken::new();
    let enough = stop.clone();
    let tell = move |event: &Event| match event {
        Event::Run(run) => println!("{}: {} parameters, at most {} rounds", run.name, run.parameters, run.rounds),
        Event::Notice(notice) => println!("{}", notice.text),
        Event::Round(line) => {
            let accuracy = line.local.and_then(|local| local.accuracy).unwrap_or_default();
            println!(
                "round {}: {:.1} % of the held-out digits, {} bytes up",
                line.round,
                accuracy * 100.0,
                line.bytes_up
            );
            if accuracy >= ENOUGH {
                enough.cancel();
            }
        }
        Event::Done(done) => println!("{} after {} rounds", done.reason, done.rounds),
        Event::Evaluation(_) | Event::Slot(_) => {}
    };
    let ended = server.serve(run, stop, tell).await?;
    over.cancel();
    while let Some(client) = clients.join_next().await {
        client??;
    }
    let model = tributary_common::parameters::safetensors::read(&kept.join("model.safetensors"))?;
    assert_eq!(model.digest(), ended.model.digest(), "the file holds the last version");
    println!("version {} is {}", ended.version, model.digest());
    Ok(())
}
