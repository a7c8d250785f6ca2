//! Transfers that break off go on where they stopped, over real QUIC and a network that cuts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tributary_certs::{Credentials, RevocationFile, revocation};
use tributary_client::agent::{self, Membership, Prepared, Settings, Status, Update, Watch, Worker};
use tributary_client::plan::Plan;
use tributary_common::config::Document;
use tributary_common::event::Event;
use tributary_common::id::{Round, RunId, Seed, Version};
use tributary_common::message::{Ready, Results};
use tributary_common::net::{BLOCK_BYTES, Windows};
use tributary_common::parameters::{Layout, Parameters};
use tributary_common::rng::{self, Purpose};
use tributary_coordinator::round::Reason;
use tributary_coordinator::server::{Ended, Limits, Run, Server};
use tributary_coordinator::store::{Durability, Folder, Journal, Keeping, Memory, Store};

use super::federation::Federation;
use super::proxy::{Proxy, Trouble, Way};

/// After this much silence a connection counts as lost: with the default a test would wait a minute for each cut.
const IDLE: Duration = Duration::from_millis(150);

/// What QUIC adds to the bytes that it carries, acknowledgements the other way included, as parts of 100; measured: 4.
const OVERHEAD_PERCENT: u64 = 8;

/// What a connection costs beside a transfer, in bytes: two handshakes with certificates, and the probes of a dead one.
const CONNECTION_BYTES: u64 = 48 * 1024;

/// A worker that trains at once: its update is as large as any.
pub(crate) struct Still(Option<Arc<Layout>>);

impl Still {
    pub(crate) const fn new() -> Self {
        Self(None)
    }
}

impl Worker for Still {
    fn prepare(&mut self, plan: &str) -> Result<Prepared, String> {
        let document = Document::parse("plan", plan).map_err(|error| error.to_string())?;
        let plan = Plan::parse(&document).map_err(|error| error.to_string())?;
        let layout = Arc::clone(&plan.model.layout);
        self.0 = Some(Arc::clone(&layout));
        Ok(Prepared { ready: Ready { examples: 1, holdout: 0 }, layout })
    }

    fn train(&mut self, _: Round, model: &Parameters, _: &mut dyn Watch) -> Result<Update, String> {
        let layout = Arc::clone(model.layout());
        let values = (0..layout.count()).map(|index| index as f64 * 1e-9);
        Ok(Update { update: Parameters::of_values(layout, values), weight: 1 })
    }

    fn evaluate(&mut self, _: &Parameters, _: &mut dyn Watch) -> Result<Results, String> {
        Ok(Results::default())
    }
}

/// A run of one round with one client, whose model has four bytes for each of 1024 × `inputs` weights, and some biases.
pub(crate) struct Setting {
    federation: Federation,
    document: Document,
    text: String,
    bytes: u64,
}

impl Setting {
    pub(crate) fn new(inputs: u64) -> Self {
        let text = format!(
            "run = {{ name = \"large\", seed = 1, rounds = 1 }}\n\
             cohort = {{ wait_for = 1, quorum = 1 }}\n\
             input = {{ shape = [{inputs}], classes = 1024 }}\n\
             data = {{}}\n\
             model = {{ layers = [{{ kind = \"linear\", out = 1024 }}] }}\n\
             train = {{ loss = \"cross_entropy\", optimizer = {{ kind = \"sgd\", lr = 0.1 }}, epochs = 1, batch = 1 }}\n"
        );
        let federation = Federation::new();
        federation.issue("a", "client");
        let document = Document::parse("run.toml", &text).unwrap();
        Self { federation, document, text, bytes: 4 * 1024 * (inputs + 1) }
    }

    fn credentials(&self, name: &str) -> Credentials {
        Credentials::load(&self.federation.path().join(name)).unwrap()
    }

    pub(crate) fn server(&self, address: SocketAddr) -> Server {
        self.server_with(address, Limits::default())
    }

    fn server_with(&self, address: SocketAddr, limits: Limits) -> Server {
        let credentials = self.credentials("hub");
        let file = self.federation.path().join("hub").join(revocation::FILE);
        let revoked = RevocationFile::open(&file, credentials.roots()).unwrap();
        Server::bind(address, &credentials, revoked, limits).unwrap()
    }

    pub(crate) fn run(&self, store: Arc<dyn Store>, journal: Option<Journal>) -> Run {
        let mut run = Run::new(RunId([7; 16]), &self.document, store).unwrap();
        run.journal = journal;
        run
    }

    /// A client that ends with the run; returns how often it joined.
    async fn client(&self, proxy: SocketAddr, models: Option<PathBuf>) -> u64 {
        let mut n_joined = 0;
        let tell = |status| n_joined += u64::from(matches!(status, Status::Joined { .. }));
        self.client_that_tells(proxy, models, tell).await;
        n_joined
    }

    pub(crate) async fn client_that_tells(
        &self,
        proxy: SocketAddr,
        models: Option<PathBuf>,
        tell: impl FnMut(Status) + Send,
    ) {
        let settings = Settings {
            name: "a".parse().unwrap(),
            coordinator: proxy.to_string(),
            device: "none".to_owned(),
            outbox: None,
            models,
            give_up_after: Some(Duration::from_secs(60)),
            once: true,
            windows: Windows::default(),
            keep_alive: IDLE / 3,
            idle: IDLE,
            permit_seconds: agent::PERMIT_SECONDS,
        };
        let stop = CancellationToken::new();
        agent::run(settings, Membership::fixed(self.credentials("a")), Still::new(), stop, tell).await.unwrap();
    }
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

#[expect(clippy::print_stdout, reason = "shown when the test fails: the seed that replays it, and what was measured")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Ten troubles on one way at bytes drawn from a seed, all of them while a transfer of `bytes` is under way.
fn ten(way: Way, trouble: Trouble, bytes: u64) -> Vec<(Way, u64, Trouble)> {
    let seed = std::env::var("TRIBUTARY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    say(&format!("TRIBUTARY_SEED={seed}"));
    let mut rng = rng::stream(Seed(seed), Round(0), None, Purpose::Faults);
    (0..10).map(|_| (way, (rng.uniform() * bytes as f64) as u64, trouble)).collect()
}

/// What a transfer of `bytes` may send over `connections` in all: itself, and what was on its way when each but the last
/// was cut: a stream's window, and what is held back until a block is full.
pub(crate) fn bound(bytes: u64, connections: usize) -> u64 {
    let window = u64::from(Windows::default().stream_bytes) + BLOCK_BYTES as u64;
    let cuts = connections as u64 - 1;
    (bytes + cuts * window) * (100 + OVERHEAD_PERCENT) / 100 + connections as u64 * CONNECTION_BYTES
}

/// One round over ten troubles; returns the bytes that went one way, over how many connections, and how often the client
/// joined.
fn play(setting: &Setting, way: Way, trouble: Trouble) -> (u64, usize, u64) {
    runtime().block_on(async {
        let server = setting.server(loopback());
        let proxy = Proxy::new(server.address().unwrap(), ten(way, trouble, setting.bytes)).await;
        let run = setting.run(Arc::new(Memory), None);
        let (ended, n_joined) =
            tokio::join!(server.serve(run, CancellationToken::new(), |_| {}), setting.client(proxy.address, None));
        let ended: Ended = ended.unwrap();
        assert_eq!((ended.reason, ended.version), (Reason::Rounds, Version(1)));
        assert_eq!(proxy.left(), 0, "every trouble came");
        (proxy.bytes(way), proxy.connections(), n_joined)
    })
}

/// The gate: a model of 64 MB costs at most its size and 35 % more over ten cuts.
fn sends_again_only_what_was_on_its_way(way: Way) {
    let setting = Setting::new(16384);
    let (sent, connections, _) = play(&setting, way, Trouble::Cut);
    let share = sent as f64 / setting.bytes as f64;
    say(&format!("{way:?}: {} bytes over {connections} connections sent {sent}, {share:.3} times", setting.bytes));
    assert!(connections >= 8, "several cuts may fall into one connection's first bytes, not most of them");
    assert!(sent <= bound(setting.bytes, connections), "{sent} bytes over {connections} connections");
    // A machine that stands still makes cuts of its own; the bound above counts them.
    assert!(share <= 1.35 || connections > 11, "{share} times");
}

#[test]
fn a_model_of_64_mb_over_ten_cuts_sends_again_only_what_was_on_its_way() {
    sends_again_only_what_was_on_its_way(Way::Down);
}

#[test]
fn an_update_of_64_mb_over_ten_cuts_sends_again_only_what_was_on_its_way() {
    sends_again_only_what_was_on_its_way(Way::Up);
}

/// What another process of this client left of the model is taken up where it is right, and thrown away where it is wrong.
#[test]
fn a_model_that_is_partly_on_disk_is_fetched_in_part() {
    let setting = Setting::new(256);
    let model = setting.run(Arc::new(Memory), None).model;
    let half = &model.bytes()[..model.bytes().len() / 2];
    let wrong: Vec<u8> = half.iter().map(|byte| byte ^ 1).collect();
    for (left, parts) in [(half, 1), (&wrong, 3)] {
        let state = tempfile::tempdir().unwrap();
        let models = state.path().join("models");
        std::fs::create_dir(&models).unwrap();
        std::fs::write(models.join(format!("{}.model", model.digest())), left).unwrap();
        let sent = runtime().block_on(async {
            let server = setting.server(loopback());
            let proxy = Proxy::new(server.address().unwrap(), Vec::new()).await;
            let serving = server.serve(setting.run(Arc::new(Memory), None), CancellationToken::new(), |_| {});
            let (ended, _) = tokio::join!(serving, setting.client(proxy.address, Some(models.clone())));
            assert_eq!(ended.unwrap().version, Version(1));
            proxy.bytes(Way::Down)
        });
        assert!(sent <= bound(parts * setting.bytes / 2, 1), "{sent} bytes were sent");
        assert!(sent >= parts * setting.bytes / 2, "{sent} bytes were sent");
        let kept = std::fs::read(models.join(format!("{}.model", model.digest()))).unwrap();
        assert!(kept == *model.bytes(), "the next process has all of it");
    }
}

/// What goes wrong without it: a phone that changes from one network to another begins again.
#[test]
fn a_transfer_goes_on_when_the_address_of_the_client_changes() {
    for way in [Way::Down, Way::Up] {
        let setting = Setting::new(4096);
        let (sent, connections, n_joined) = play(&setting, way, Trouble::Move);
        assert_eq!((connections, n_joined), (1, 1), "{way:?}: one connection is enough");
        // Each time what was on its way to the old address is lost.
        assert!(sent <= bound(setting.bytes, 11), "{way:?}: {sent} bytes were sent");
    }
}

#[test]
fn an_upload_goes_on_where_a_restarted_coordinator_has_it() {
    let setting = Setting::new(4096);
    let folder = tempfile::tempdir().unwrap();
    let keeping = Keeping { durability: Durability::Power, models: 3 };
    let (sent, connections) = runtime().block_on(async {
        let server = setting.server(loopback());
        let address = server.address().unwrap();
        let proxy = Proxy::new(address, vec![(Way::Up, setting.bytes / 2, Trouble::Tell)]).await;
        let coordinator = async {
            let (store, journal) = Folder::create(folder.path(), &setting.text, keeping).unwrap();
            let run = setting.run(Arc::new(store), Some(journal));
            let stop = CancellationToken::new();
            let half = async {
                proxy.told.notified().await;
                stop.cancel();
            };
            let (first, ()) = tokio::join!(server.serve(run, stop.clone(), |_| {}), half);
            assert_eq!(first.unwrap().reason, Reason::Suspended);
            let (config, layout) = (setting.document.digest(), setting.run(Arc::new(Memory), None).model);
            let (store, journal, left) = Folder::resume(folder.path(), config, layout.layout(), keeping).unwrap();
            let mut run = setting.run(Arc::new(store), Some(journal));
            (run.past, run.model) = (left.past, left.model);
            setting.server(address).serve(run, CancellationToken::new(), |_| {}).await.unwrap()
        };
        let (ended, _) = tokio::join!(coordinator, setting.client(proxy.address, None));
        assert_eq!((ended.reason, ended.version), (Reason::Rounds, Version(1)));
        (proxy.bytes(Way::Up), proxy.connections())
    });
    assert!(connections >= 2, "the coordinator was away");
    assert!(sent <= bound(setting.bytes, 2) + connections as u64 * CONNECTION_BYTES, "{sent} bytes were sent");
    let left = std::fs::read_dir(folder.path().join("partial")).unwrap().count();
    assert_eq!(left, 0, "what is whole is partial no more");
}

/// What goes wrong without it: a disk that is full for a while costs every client its training, and the run its attempts.
#[test]
fn an_update_that_a_full_disk_does_not_take_waits_for_a_process_that_takes_it() {
    let setting = Setting::new(256);
    let folder = tempfile::tempdir().unwrap();
    let keeping = Keeping { durability: Durability::Power, models: 3 };
    let (notices, told) = std::sync::mpsc::channel();
    let (mut n_trained, mut n_postponed) = (0, 0);
    runtime().block_on(async {
        let full = Limits { disk_floor_bytes: u64::MAX, later: Duration::from_secs(1), ..Limits::default() };
        let server = setting.server_with(loopback(), full);
        let address = server.address().unwrap();
        let stop = CancellationToken::new();
        let coordinator = async {
            let (store, journal) = Folder::create(folder.path(), &setting.text, keeping).unwrap();
            let run = setting.run(Arc::new(store), Some(journal));
            let first = server.serve(run, stop.clone(), move |event| {
                if let Event::Notice(notice) = event {
                    notices.send(notice.text.clone()).unwrap();
                }
            });
            assert_eq!(first.await.unwrap().reason, Reason::Suspended);
            let (config, layout) = (setting.document.digest(), setting.run(Arc::new(Memory), None).model);
            let (store, journal, left) = Folder::resume(folder.path(), config, layout.layout(), keeping).unwrap();
            let mut run = setting.run(Arc::new(store), Some(journal));
            (run.past, run.model) = (left.past, left.model);
            setting.server(address).serve(run, CancellationToken::new(), |_| {}).await.unwrap()
        };
        let client = setting.client_that_tells(address, None, |status| match status {
            Status::Working { .. } => n_trained += 1,
            Status::Dropped { reason, .. } | Status::Refused { reason, .. } => panic!("it is dropped: {reason}"),
            Status::Postponed { .. } => {
                n_postponed += 1;
                // It has come again, and was not taken again.
                if n_postponed == 2 {
                    stop.cancel();
                }
            }
            _ => {}
        });
        let (ended, ()) = tokio::join!(coordinator, client);
        assert_eq!((ended.reason, ended.version), (Reason::Rounds, Version(1)));
    });
    assert_eq!(n_trained, 1, "the work was done once");
    let told: Vec<_> = told.iter().filter(|text| text.contains("not taken")).collect();
    assert!(told.len() == 1 && told[0].contains("stay free"), "the operator hears of it, once: {told:?}");
}
