//! One scenario: a federation, a run of some rounds, and the trouble of one seed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tributary_certs::{Authority, Credentials, RevocationFile};
use tributary_client::agent::{self, Membership, Outbox, Prepared, Settings, Status, Update, Watch, Worker};
use tributary_client::plan::Plan;
use tributary_common::Digest;
use tributary_common::config::Document;
use tributary_common::event::Event;
use tributary_common::id::{Round, RunId};
use tributary_common::identity::{Identity, Role};
use tributary_common::message::{Ready, Results};
use tributary_common::net::Windows;
use tributary_common::parameters::Parameters;
use tributary_coordinator::optimize::Optimizer;
use tributary_coordinator::round::Reason;
use tributary_coordinator::server::{Limits, Run, Server};
use tributary_coordinator::store::{Durability, Folder, Keeping};

use super::host::Host;
use super::network::{Network, now};
use super::oracle::{self, Acknowledged};
use super::weather::{Trouble, Weather};

/// What must have happened in a campaign.
pub(crate) const KINDS: [&str; 13] = [
    "client crash",
    "coordinator crash",
    "corrupted",
    "cut both ways",
    "cut off",
    "cut one way",
    "duplicated",
    "lost",
    "overtaken",
    "round without somebody",
    "storm",
    "suspension",
    "update acknowledged",
];

/// The most clients of a drawn scenario.
pub(crate) const CLIENTS: usize = 5;

/// No run takes longer, in virtual time: some deadlines, and the longest cut.
const LONGEST: Duration = Duration::from_secs(3600);

/// A client's connection is probed after this much silence.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// … and ends after this much.
pub(crate) const IDLE: Duration = Duration::from_secs(15);

/// Certificates are not what is tested here.
const DAY: Duration = Duration::from_secs(24 * 3600);

const RUN: &str = r#"
run = { name = "network", seed = 1, rounds = ROUNDS }
cohort = { size = "all", wait_for = CLIENTS, quorum = 1, deadline = 30 }
input = { shape = [CLIENTS], classes = 2 }
model = { dtype = "f64", init = "zeros", layers = [{ kind = "linear", out = 2 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, epochs = 1, batch = 1 }
"#;

/// Who takes part in all scenarios; certificates are made once, because their keys are no seed's.
pub(crate) struct Federation {
    folder: TempDir,
    pub(crate) hub: Credentials,
    pub(crate) clients: Vec<Credentials>,
}

/// In memory where the system has such a place: what a disk loses is tested elsewhere, and here it would only be slow.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

impl Federation {
    pub(crate) fn new(clients: usize) -> Self {
        let folder = folder();
        #[expect(clippy::disallowed_methods, reason = "certificates are valid from now on")]
        let now = SystemTime::now();
        let authority = Authority::create(&folder.path().join("authority"), "network", now).unwrap();
        let issue = |name: &str, role| {
            let (federation, name) = (authority.federation().to_owned(), name.parse().unwrap());
            authority.issue(&Identity { federation, role, name }, DAY, now).unwrap()
        };
        let hub = issue("hub", Role::Coordinator);
        let clients = (0..clients).map(|index| issue(&format!("client-{index}"), Role::Client)).collect();
        Self { folder, hub, clients }
    }
}

/// What came of a seed.
pub(crate) struct Played {
    /// Every event that a user can see, with the virtual time at which it was told.
    pub(crate) trace: Vec<String>,
    /// When clients lost their coordinator, and why.
    pub(crate) lost: Vec<(Duration, String)>,
    /// What happened how often.
    pub(crate) happened: BTreeMap<&'static str, u64>,
}

/// What hosts tell.
#[derive(Default)]
struct Told {
    trace: Vec<String>,
    lost: Vec<(Duration, String)>,
    acknowledged: Vec<Acknowledged>,
    /// What clients trained, with a number for each time.
    trained: BTreeMap<(usize, Digest), u64>,
}

/// What the scenario does at a time.
enum Happening {
    Calm,
    ClientStarts(usize),
    CoordinatorStarts,
    Mends { client: usize, down: bool, up: bool },
    Trouble(Trouble),
}

struct Scenario<'a> {
    federation: &'a Federation,
    seed: u64,
    weather: Weather,
    network: Network,
    folder: TempDir,
    began: Instant,
    told: Arc<Mutex<Told>>,
    /// By time, then by the order in which they were planned.
    happenings: BTreeMap<(Instant, u64), Happening>,
    n_planned: u64,
    n_starts: u64,
    coordinator: Option<(Host, CancellationToken)>,
    clients: BTreeMap<usize, Host>,
    ended: (mpsc::Sender<Reason>, mpsc::Receiver<Reason>),
    happened: BTreeMap<&'static str, u64>,
}

/// Plays one seed to the end of its run, and checks who counted.
pub(crate) fn play(federation: &Federation, seed: u64) -> Played {
    play_in(federation, seed, Weather::draw(seed))
}

/// Plays one seed in a weather of one's choice.
pub(crate) fn play_in(federation: &Federation, seed: u64, weather: Weather) -> Played {
    runtime().block_on(async { Scenario::new(federation, seed, weather).play().await })
}

pub(crate) const HUB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
pub(crate) const ADDRESS: SocketAddr = SocketAddr::new(HUB, 4433);

pub(crate) fn address(client: usize) -> IpAddr {
    let [high, low] = u16::try_from(client).unwrap().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 1, high, low))
}

impl<'a> Scenario<'a> {
    fn new(federation: &'a Federation, seed: u64, weather: Weather) -> Self {
        let mut scenario = Self {
            federation,
            seed,
            network: Network::new(seed, weather.link),
            weather,
            folder: folder(),
            began: now(),
            told: Arc::default(),
            happenings: BTreeMap::new(),
            n_planned: 0,
            n_starts: 0,
            coordinator: None,
            clients: BTreeMap::new(),
            ended: mpsc::channel(1),
            happened: BTreeMap::new(),
        };
        scenario.plan(Duration::ZERO, Happening::CoordinatorStarts);
        (0..scenario.weather.clients).for_each(|client| scenario.plan(Duration::ZERO, Happening::ClientStarts(client)));
        for (after, trouble) in scenario.weather.troubles.clone() {
            scenario.plan(after, Happening::Trouble(trouble));
        }
        scenario
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.n_planned += 1;
        self.happenings.insert((now() + after, self.n_planned), happening);
    }

    async fn play(mut self) -> Played {
        loop {
            let next = self.happenings.first_key_value().map(|(&(at, _), _)| at);
            let sleep = tokio::time::sleep_until(next.unwrap_or(self.began + LONGEST));
            tokio::select! {
                biased;
                Some(reason) = self.ended.1.recv() => match reason {
                    Reason::Rounds => break,
                    // It was asked to stop, and its restart is planned.
                    Reason::Suspended => {}
                    other => panic!("the run ended: {other}"),
                },
                () = sleep => match self.happenings.pop_first() {
                    Some((_, happening)) => self.happen(happening).await,
                    None => panic!("the run does not end within {} virtual minutes", LONGEST.as_secs() / 60),
                },
            }
        }
        if let Some((host, _)) = self.coordinator.take() {
            host.crash().await;
        }
        for host in self.clients.values() {
            host.crash().await;
        }
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        let checked = oracle::check(&self.folder.path().join("run"), &self.weather, &told.acknowledged);
        self.happened.extend(self.network.happened());
        self.happened.extend(checked);
        Played { trace: told.trace, lost: told.lost, happened: self.happened }
    }

    async fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Calm => self.network.set_link(self.weather.link),
            Happening::ClientStarts(client) => self.start_client(client),
            Happening::CoordinatorStarts => self.start_coordinator().await,
            Happening::Mends { client, down, up } => self.cut(client, down, up, false),
            Happening::Trouble(trouble) => self.trouble(trouble).await,
        }
    }

    fn cut(&self, client: usize, down: bool, up: bool, is_cut: bool) {
        if down {
            self.network.cut(HUB, address(client), is_cut);
        }
        if up {
            self.network.cut(address(client), HUB, is_cut);
        }
    }

    async fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::ClientCrash { client, down } => {
                let Some(host) = self.clients.remove(&client) else { return };
                host.crash().await;
                self.plan(down, Happening::ClientStarts(client));
            }
            Trouble::CoordinatorCrash { down } => {
                let Some((host, _)) = self.coordinator.take() else { return };
                host.crash().await;
                self.plan(down, Happening::CoordinatorStarts);
            }
            Trouble::Cut { client, down, up, lasts } => {
                self.cut(client, down, up, true);
                self.plan(lasts, Happening::Mends { client, down, up });
            }
            Trouble::Storm { loss, lasts } => {
                self.network.set_link(super::network::Link { loss, ..self.weather.link });
                self.plan(lasts, Happening::Calm);
            }
            Trouble::Suspension { down } => {
                let Some((_, stop)) = &self.coordinator else { return };
                stop.cancel();
                // Whether it has said goodbye to everybody by then or not: it is switched off.
                self.plan(down, Happening::CoordinatorStarts);
            }
        }
        *self.happened.entry(trouble.name()).or_insert(0) += 1;
    }

    fn host(&mut self, address: IpAddr, order_takes: Duration) -> Host {
        self.n_starts += 1;
        Host::start(&self.network, address, self.seed, self.n_starts, order_takes)
    }

    async fn start_coordinator(&mut self) {
        if let Some((host, _)) = self.coordinator.take() {
            host.crash().await;
        }
        let host = self.host(HUB, self.weather.disk);
        let run = run(&self.folder.path().join("run"), &self.weather);
        let revoked = self.federation.folder.path().join("revoked.crl");
        let hub = &self.federation.hub;
        let revoked = RevocationFile::open(&revoked, hub.roots()).unwrap();
        let server = Server::bind_on(host.system(), ADDRESS, hub, revoked, Limits::default()).unwrap();
        let (stop, ended) = (CancellationToken::new(), self.ended.0.clone());
        let (told, began, token) = (Arc::clone(&self.told), self.began, stop.clone());
        let tell = move |event: &Event| {
            let mut event = event.clone();
            if let Event::Done(done) = &mut event {
                done.path = None;
            }
            told.lock().unwrap().trace.push(format!("{:?} hub {event:?}", began.elapsed()));
        };
        host.run(async move {
            let result = Box::pin(server.serve(run, token, tell)).await;
            drop(ended.send(result.unwrap().reason).await);
        });
        self.coordinator = Some((host, stop));
    }

    fn start_client(&mut self, client: usize) {
        let host = self.host(address(client), self.weather.training);
        let credentials = self.federation.clients[client].clone();
        let outbox = self.folder.path().join(format!("outbox-{client}"));
        let settings = Settings {
            name: credentials.identity().name.clone(),
            coordinator: ADDRESS.to_string(),
            device: "cpu".to_owned(),
            outbox: Some(Outbox::open(&outbox).unwrap()),
            give_up_after: None,
            once: true,
            windows: Windows::default(),
            keep_alive: KEEP_ALIVE,
            idle: IDLE,
            permit_seconds: agent::PERMIT_SECONDS,
            models: Some(self.folder.path().join(format!("models-{client}"))),
        };
        let (told, began, name) = (Arc::clone(&self.told), self.began, settings.name.clone());
        let tell = move |mut status: Status| {
            if let Status::Acknowledged { receipt, .. } = &mut status {
                // Made with a key that each run draws for itself.
                *receipt = Digest([0; 32]);
            }
            let mut told = told.lock().unwrap();
            if let Status::Retrying { reason, .. } = &status {
                told.lost.push((began.elapsed(), reason.clone()));
            }
            told.trace.push(format!("{:?} {name} {status:?}", began.elapsed()));
            if let Status::Acknowledged { ticket, digest, .. } = status {
                let training = told.trained[&(client, digest)];
                told.acknowledged.push(Acknowledged { client, ticket, training });
            }
        };
        let (system, membership) = (host.system(), Membership::fixed(credentials));
        let worker = Basis { client, clients: self.weather.clients, told: Arc::clone(&self.told) };
        host.run(async move {
            let agent = agent::run_on(system, settings, membership, worker, CancellationToken::new(), tell);
            Box::pin(agent).await.unwrap();
        });
        self.clients.insert(client, host);
    }
}

/// One thread, and a clock that moves when nothing else does.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn text(weather: &Weather) -> String {
    RUN.replace("ROUNDS", &weather.rounds.to_string()).replace("CLIENTS", &weather.clients.to_string())
}

pub(crate) fn document(weather: &Weather) -> Document {
    Document::parse("run.toml", &text(weather)).unwrap()
}

/// The run, new or as an earlier process left it.
pub(crate) fn run(folder: &Path, weather: &Weather) -> Run {
    let (text, document) = (text(weather), document(weather));
    let keeping = Keeping { durability: Durability::Power, models: 100 };
    let id = RunId(*b"a network of one");
    let folder: PathBuf = folder.to_owned();
    // Nothing was promised yet, where a process was gone before its first row.
    if !folder.join("journal.sqlite").is_file() || Folder::is_unbegun(&folder) {
        let (store, journal) = Folder::create(&folder, &text, keeping).unwrap();
        let mut run = Run::new(id, &document, Arc::new(store)).unwrap();
        run.journal = Some(journal);
        return run;
    }
    let layout = Arc::clone(&Plan::parse(&document).unwrap().model.layout);
    let (store, journal, resumed) = Folder::resume(&folder, document.digest(), &layout, keeping).unwrap();
    let mut run = Run::new(id, &document, Arc::new(store)).unwrap();
    let optimizer = Optimizer::with_state(run.strategy.optimizer, layout.count(), &resumed.optimizer);
    run.optimizer = optimizer.expect("the state that was kept");
    (run.model, run.past, run.journal) = (resumed.model, resumed.past, Some(journal));
    run
}

/// A worker with one example, and so many to measure on.
pub(crate) fn prepared(plan: &str, holdout: u64) -> Result<Prepared, String> {
    let document = Document::parse("plan", plan).map_err(|error| error.to_string())?;
    let layout = Plan::parse(&document).map_err(|error| error.to_string())?.model.layout.clone();
    Ok(Prepared { ready: Ready { examples: 1, holdout }, layout })
}

/// A worker whose update is the basis vector of its client, and in another coordinate of its own the number of the
/// training: the aggregate shows who is in it, and with what.
struct Basis {
    client: usize,
    clients: usize,
    told: Arc<Mutex<Told>>,
}

impl Worker for Basis {
    fn prepare(&mut self, plan: &str) -> Result<Prepared, String> {
        prepared(plan, 0)
    }

    fn train(&mut self, _: Round, model: &Parameters, _: &mut dyn Watch) -> Result<Update, String> {
        let mut told = self.told.lock().unwrap();
        let training = 1 + told.trained.len() as u64;
        let mut values = vec![0.0; model.layout().count()];
        values[self.client] = 1.0;
        values[self.clients + self.client] = f64::from(u32::try_from(training).unwrap());
        let bytes: Vec<u8> = values.iter().flat_map(|value: &f64| value.to_le_bytes()).collect();
        let update = Parameters::new(Arc::clone(model.layout()), bytes.into()).map_err(|error| error.to_string())?;
        told.trained.insert((self.client, update.digest()), training);
        Ok(Update { update, weight: 1 })
    }

    fn evaluate(&mut self, _: &Parameters, _: &mut dyn Watch) -> Result<Results, String> {
        Err("nothing is measured here".to_owned())
    }
}
