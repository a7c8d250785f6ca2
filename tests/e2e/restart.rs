//! A coordinator that stops or is killed, and comes back: all clients notice, and do not come back all at once.
//!
//! The long form: `TRIBUTARY_RESTART_CLIENTS=500 cargo test --release --workspace --test e2e restart -- --nocapture` prints
//! when the last client noticed that the coordinator had been killed, and when all had joined it again.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::{Authority, Credentials, RevocationFile, revocation};
use tributary_client::agent::{self, Membership, Settings, Status};
use tributary_common::config::Document;
use tributary_common::id::{ClientId, RunId};
use tributary_common::identity::{Identity, Role};
use tributary_common::net::{IDLE_TIMEOUT, Windows};
use tributary_coordinator::round::Reason;
use tributary_coordinator::server::{Limits, Run, Server};
use tributary_coordinator::store::Memory;

use super::federation::Federation;
use super::process::free_address;
use super::transfer::{Still, say};

/// Clients in the short form.
const CLIENTS: usize = 48;

/// The silence after which a client asks whether the coordinator is there.
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// How long anything may take before the test gives up; below the idle timeout, which would hide what is tested.
const LONGEST: Duration = Duration::from_secs(45);

const HOUR: Duration = Duration::from_secs(3600);

/// Clients of a run that never begins: one more is waited for.
struct Crowd {
    federation: Federation,
    text: String,
    clients: usize,
}

impl Crowd {
    fn new() -> Self {
        let from_outside = std::env::var("TRIBUTARY_RESTART_CLIENTS").ok();
        let clients = from_outside.map_or(CLIENTS, |text| text.parse().expect("a number of clients"));
        let text = format!(
            "run = {{ name = \"crowd\", seed = 1, rounds = 1 }}\n\
             cohort = {{ wait_for = {}, quorum = 1 }}\n\
             input = {{ shape = [4], classes = 2 }}\n\
             data = {{}}\n\
             model = {{ layers = [{{ kind = \"linear\", out = 2 }}] }}\n\
             train = {{ loss = \"cross_entropy\", optimizer = {{ kind = \"sgd\", lr = 0.1 }}, epochs = 1, batch = 1 }}\n",
            clients + 1
        );
        let federation = Federation::new();
        std::fs::write(federation.path().join("run.toml"), &text).unwrap();
        Self { federation, text, clients }
    }

    /// Starts every client; what each is told comes with the moment.
    fn come(
        &self,
        address: &str,
        stop: &CancellationToken,
    ) -> (JoinSet<()>, mpsc::UnboundedReceiver<(Instant, Status)>) {
        let authority = Authority::open(&self.federation.path().join("ca")).unwrap();
        let (told, statuses) = mpsc::unbounded_channel();
        let mut agents = JoinSet::new();
        for index in 0..self.clients {
            let name = ClientId::simulated(index, self.clients);
            let identity = Identity { federation: "test".to_owned(), role: Role::Client, name: name.clone() };
            let membership = Membership::fixed(authority.issue(&identity, HOUR, SystemTime::now()).unwrap());
            let settings = Settings {
                name,
                coordinator: address.to_owned(),
                device: "none".to_owned(),
                outbox: None,
                models: None,
                give_up_after: Some(LONGEST),
                once: false,
                windows: Windows::default(),
                keep_alive: KEEP_ALIVE,
                idle: IDLE_TIMEOUT,
                permit_seconds: agent::PERMIT_SECONDS,
            };
            let (stop, told) = (stop.clone(), told.clone());
            agents.spawn(async move {
                let tell = |status| drop(told.send((Instant::now(), status)));
                agent::run(settings, membership, Still::new(), stop, tell).await.unwrap();
            });
        }
        (agents, statuses)
    }

    /// Waits until every client has joined, of which `n_joined` did before.
    async fn joined(&self, mut n_joined: usize, statuses: &mut mpsc::UnboundedReceiver<(Instant, Status)>) {
        while n_joined < self.clients {
            let told = tokio::time::timeout(LONGEST, statuses.recv()).await.expect("every client joins");
            n_joined += usize::from(matches!(told, Some((_, Status::Joined { .. }))));
        }
    }

    /// Waits until every client has lost the coordinator: when, why, and how long it waits before it comes back. The first
    /// may be back before the last one has noticed; their number comes with it.
    async fn lost(
        &self,
        statuses: &mut mpsc::UnboundedReceiver<(Instant, Status)>,
    ) -> (Vec<(Instant, String, Duration)>, usize) {
        let (mut lost, mut n_joined) = (Vec::new(), 0);
        while lost.len() < self.clients {
            let told = tokio::time::timeout(LONGEST, statuses.recv()).await.expect("every client notices");
            match told {
                Some((at, Status::Retrying { reason, wait })) => lost.push((at, reason, wait)),
                Some((_, Status::Joined { .. })) => n_joined += 1,
                _ => {}
            }
        }
        (lost, n_joined)
    }

    /// Another certificate and another key for the coordinator, as renewal leaves them.
    fn renew_hub(&self) {
        let hub = self.federation.path().join("hub");
        let authority = Authority::open(&self.federation.path().join("ca")).unwrap();
        let renewed = authority.renew_own(&Credentials::load(&hub).unwrap(), SystemTime::now()).unwrap();
        renewed.replace(&hub).unwrap();
    }

    async fn serve(&self, address: &str, stop: CancellationToken) -> Reason {
        let hub = self.federation.path().join("hub");
        let credentials = Credentials::load(&hub).unwrap();
        let revoked = || RevocationFile::open(&hub.join(revocation::FILE), credentials.roots()).unwrap();
        let bind = || Server::bind(address.parse().unwrap(), &credentials, revoked(), Limits::default());
        // Inside one process the task that has the port may outlive its coordinator by a moment.
        let began = Instant::now();
        let server = loop {
            match bind() {
                Ok(server) => break server,
                Err(error) => assert!(began.elapsed() < LONGEST, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let document = Document::parse("run.toml", &self.text).unwrap();
        let run = Run::new(RunId([7; 16]), &document, Arc::new(Memory)).unwrap();
        server.serve(run, stop, |_| {}).await.unwrap().reason
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

/// What goes wrong without it: after a pause all clients knock in the same moment, and the coordinator refuses most.
#[test]
fn clients_of_a_coordinator_that_stops_spread_their_return() {
    let crowd = Crowd::new();
    runtime().block_on(async {
        let (address, stop, over) = (free_address(), CancellationToken::new(), CancellationToken::new());
        let (mut agents, mut statuses) = crowd.come(&address, &over);
        let meet = async {
            crowd.joined(0, &mut statuses).await;
            stop.cancel();
            let mut waits: Vec<Duration> =
                crowd.lost(&mut statuses).await.0.into_iter().map(|(_, _, wait)| wait).collect();
            waits.sort_unstable();
            waits
        };
        let (ended, waits) = tokio::join!(crowd.serve(&address, stop.clone()), meet);
        assert_eq!(ended, Reason::Suspended);
        let window = *waits.last().unwrap();
        let widest = waits.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        say(&format!("{} clients come back within {window:?}", waits.len()));
        assert!(widest < window / 4 && waits[0] < window / 4, "they come in heaps: {waits:?}");
        let back = CancellationToken::new();
        let again = async {
            crowd.joined(0, &mut statuses).await;
            back.cancel();
        };
        let (ended, ()) = tokio::join!(crowd.serve(&address, back.clone()), again);
        assert_eq!(ended, Reason::Suspended);
        over.cancel();
        while let Some(agent) = agents.join_next().await {
            agent.unwrap();
        }
    });
}

/// What goes wrong without it: clients sit in front of a coordinator that does not know them until their idle timeout. That
/// its certificate was renewed meanwhile, with another key, changes nothing.
#[test]
fn every_client_notices_that_the_coordinator_was_killed_and_is_back() {
    let crowd = Crowd::new();
    runtime().block_on(async {
        let mut coordinator = crowd.federation.coordinator(&[]);
        let (address, over) = (coordinator.address.clone(), CancellationToken::new());
        let (mut agents, mut statuses) = crowd.come(&address, &over);
        crowd.joined(0, &mut statuses).await;
        coordinator.process.kill();
        crowd.renew_hub();
        coordinator.process = crowd.federation.coordinator(&["--listen", &address]).process;
        let back = Instant::now();
        let (lost, n_joined) = crowd.lost(&mut statuses).await;
        let last = lost.iter().map(|(at, _, _)| at.saturating_duration_since(back)).max().unwrap();
        say(&format!("the last of {} clients noticed {last:?} after the coordinator was back", lost.len()));
        // Told by the new process, long before the silence would have told them.
        let other = lost.iter().find(|(_, reason, _)| !reason.contains("reset"));
        assert_eq!(other, None);
        crowd.joined(n_joined, &mut statuses).await;
        say(&format!("all had joined again after {:?}", back.elapsed()));
        over.cancel();
        while let Some(agent) = agents.join_next().await {
            agent.unwrap();
        }
    });
}
