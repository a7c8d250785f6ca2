//! `tributary bench link`: rounds of the run file's model over loopback with a real coordinator and real clients, all in
//! this process, training left out. Beside it bare QUIC: the same bytes over as many connections, and nothing else. The two
//! take turns, a few rounds each: what else the machine does, and how its cores share the work, strikes both. With an
//! identity the way to its coordinator instead.

mod bare;
mod remote;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::{Authority, Credentials, RevocationFile, revocation};
use tributary_client::agent::{self, Membership};
use tributary_client::cli::stop;
use tributary_common::event::Event;
use tributary_common::id::{ClientId, RunId};
use tributary_common::identity::{Identity, Role};
use tributary_common::net::{IDLE_TIMEOUT, KEEP_ALIVE, Windows};
use tributary_common::parameters::Parameters;
use tributary_coordinator::optimize::Optimizer;
use tributary_coordinator::round::Reason;
use tributary_coordinator::server::{Limits, Run, Server};
use tributary_coordinator::store::{Memory, Past};
use tributary_coordinator::strategy::plan_text;

use super::null::Null;
use super::times::{Times, now};
use crate::arguments;
use crate::command::certs;
use crate::exit::{self, Failure, RUN_FAILED};
use crate::file::RunFile;
use crate::output::{Format, Output, bytes, plural};

/// Rounds of one kind before it is the other's turn; each turn has connections of its own.
const TURN: u64 = 5;

/// The certificates of a measurement are valid for a day.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(RUN_FAILED, error)
}

/// Fresh identities of one coordinator and some clients.
struct Federation {
    authority: Authority,
    coordinator: Credentials,
    folder: TempDir,
}

impl Federation {
    fn new() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("tributary-bench-").tempdir().map_err(|error| {
            failed(format!("could not make a temporary folder for certificates: {error}"))
                .with_hint(Some("name another place with TMPDIR"))
        })?;
        let authority = Authority::create(&folder.path().join("authority"), "bench", certs::now()).map_err(failed)?;
        let name = "coordinator".parse().expect("a name");
        let coordinator = issue(&authority, Role::Coordinator, name)?;
        Ok(Self { authority, coordinator, folder })
    }

    /// Nobody is revoked: the file does not exist.
    fn revoked(&self) -> Result<RevocationFile, Failure> {
        let file = self.folder.path().join(revocation::FILE);
        RevocationFile::open(&file, self.coordinator.roots()).map_err(failed)
    }

    fn client(&self, name: &ClientId) -> Result<Credentials, Failure> {
        issue(&self.authority, Role::Client, name.clone())
    }
}

fn issue(authority: &Authority, role: Role, name: ClientId) -> Result<Credentials, Failure> {
    let identity = Identity { federation: authority.federation().to_owned(), role, name };
    authority.issue(&identity, VALIDITY, certs::now()).map_err(failed)
}

pub(super) fn run(arguments: &arguments::BenchLink, output: Output) -> Result<u8, Failure> {
    let runtime = Runtime::new().map_err(failed)?;
    let mut signals = JoinSet::new();
    // Before anything is made that has to be removed again.
    let signal = runtime.block_on(async { stop::token(false, &mut signals) }).map_err(failed)?;
    // What is dropped in the middle of its work closes its connections; the folder of the certificates goes with it.
    let measured = runtime.block_on(signal.run_until_cancelled(async {
        match (&arguments.file, &arguments.identity) {
            (Some(file), _) => over_loopback(file, arguments, output).await,
            (None, Some(identity)) => {
                remote::run(identity, arguments.coordinator.as_deref(), arguments.rounds, output).await
            }
            (None, None) => unreachable!("one of both is required"),
        }
    }));
    measured.unwrap_or(Ok(exit::INTERRUPTED))
}

async fn over_loopback(file: &Path, arguments: &arguments::BenchLink, output: Output) -> Result<u8, Failure> {
    let clients = usize::try_from(arguments.clients).expect("bounded by the argument's range");
    let rounds = arguments.rounds;
    let mut set = arguments.set.clone();
    // One round more than is measured: in the first one everybody joins.
    let turn = rounds.min(TURN);
    set.extend([format!("run.rounds={}", turn + 1), "cohort.size=\"all\"".to_owned()]);
    set.extend([format!("cohort.wait_for={clients}"), format!("cohort.quorum={clients}")]);
    let mut file = RunFile::read(file, &set)?;
    // Nothing is measured but the link, so there is no accuracy to wait for either.
    file.strategy.stop_at = None;
    (file.strategy.rounds.evaluate, file.strategy.rounds.has_target) = (None, false);
    let federation = Federation::new()?;
    let model = file.initial_model()?;
    let (mut times, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds.div_ceil(turn) {
        times.extend(ours(&file, &federation, clients, &model).await?);
        bare.extend(bare::rounds(&federation, model.bytes(), clients, turn).await?);
    }
    let (times, bare) = (Times::new(times), Times::new(bare));
    let size = model.bytes().len();
    let moved = 2 * clients * size;
    let pace = |times: &Times| moved as f64 / times.median() / 1e6;
    let ratio = times.median() / bare.median();
    if output.format == Format::Text {
        let size = bytes(size as u64);
        output.fact("model", &format!("{}, {size}", plural(model.layout().count(), "parameter")));
        let clients = plural(clients, "client");
        output.result(&format!("round           {}, {clients}, {size} down and up", times.to_text()));
        output.result(&format!("pace            {:.0} MB/s", pace(&times)));
        output.result(&format!("bare QUIC       {}, {:.0} MB/s", bare.to_text(), pace(&bare)));
        output.result(&format!("ratio           {ratio:.2} times the bare transfer"));
        return Ok(exit::OK);
    }
    output.document(&json!({
        "bench": "link",
        "clients": clients,
        "model_bytes": size,
        "round_ms": times.to_json(),
        "mb_per_second": pace(&times),
        "bare_ms": bare.to_json(),
        "bare_mb_per_second": pace(&bare),
        "ratio": ratio,
    }));
    Ok(exit::OK)
}

/// Rounds of the product: how long after each other they were reported, from the second on.
async fn ours(
    file: &RunFile,
    federation: &Federation,
    clients: usize,
    model: &Parameters,
) -> Result<Vec<f64>, Failure> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server =
        Server::bind(address, &federation.coordinator, federation.revoked()?, Limits::default()).map_err(failed)?;
    let coordinator = server.address().map_err(failed)?.to_string();
    let run = Run {
        id: RunId([0; 16]),
        optimizer: Optimizer::new(file.strategy.optimizer, model.layout().count()),
        strategy: file.strategy.clone(),
        plan: plan_text(&file.document).map_err(failed)?,
        config: file.document.digest(),
        model: model.clone(),
        past: Past::default(),
        store: Arc::new(Memory),
        journal: None,
    };
    let stop = CancellationToken::new();
    let mut agents = JoinSet::new();
    for index in 0..clients {
        let name = ClientId::simulated(index, clients);
        let membership = Membership::fixed(federation.client(&name)?);
        let settings = agent::Settings {
            name,
            coordinator: coordinator.clone(),
            device: "cpu".to_owned(),
            give_up_after: Some(Duration::from_secs(10)),
            once: true,
            windows: Windows::default(),
            keep_alive: KEEP_ALIVE,
            idle: IDLE_TIMEOUT,
            permit_seconds: agent::PERMIT_SECONDS,
            models: None,
            outbox: None,
        };
        agents.spawn(agent::run(settings, membership, Null::new(), stop.clone(), |_| {}));
    }
    let reported: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let told = Arc::clone(&reported);
    let tell = move |event: &Event| {
        if let Event::Round(_) = event {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(now());
        }
    };
    let served = server.serve(run, stop.clone(), tell).await;
    stop.cancel();
    while let Some(ended) = agents.join_next().await {
        ended.map_err(failed)?.map_err(failed)?;
    }
    match served.map_err(failed)?.reason {
        Reason::Rounds => {}
        reason => return Err(failed(reason).with_hint(Some("raise cohort.deadline, or give fewer --clients"))),
    }
    let at = reported.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect())
}
