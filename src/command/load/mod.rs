//! `tributary load`: many client machines in one process, over real QUIC, with updates that nobody trained. What an
//! operator runs against a coordinator before trusting a deployment; without one, against a coordinator of its own.

mod deployment;
mod member;
mod synthetic;
mod tally;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::Authority;
use tributary_client::agent::{self, Membership};
use tributary_client::cli::stop;
use tributary_common::id::{ClientId, Seed};
use tributary_common::identity::{Identity, Role};
use tributary_common::net::{IDLE_TIMEOUT, KEEP_ALIVE, Windows};

use super::certs;
use super::children::Children;
use super::memory;
use crate::arguments;
use crate::exit::{self, Failure, INVALID, RUN_FAILED, USAGE};
use crate::output::{Format, Output, duration};
use deployment::Deployment;
use member::Member;
pub(super) use synthetic::{plan, sealed, update};
use tally::Tally;

/// The certificates of a load are valid for a day.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// How often the coordinator's memory is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long a client tries to reach the coordinator before it counts as failed.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(RUN_FAILED, error)
}

pub(super) fn run(arguments: &arguments::Load, output: Output) -> Result<u8, Failure> {
    let runtime = Runtime::new().map_err(failed)?;
    let mut signals = JoinSet::new();
    // Before anything is made that has to be removed again.
    let signal = runtime.block_on(async { stop::token(false, &mut signals) }).map_err(failed)?;
    let load = Load { arguments, output, runtime, signal };
    match (&arguments.coordinator, &arguments.authority) {
        (Some(address), Some(authority)) => load.theirs(address, authority),
        _ => load.ours(),
    }
}

/// A load that is about to begin.
struct Load<'a> {
    arguments: &'a arguments::Load,
    output: Output,
    runtime: Runtime,
    signal: CancellationToken,
}

impl Load<'_> {
    /// Against the coordinator at an address.
    fn theirs(&self, address: &str, authority: &std::path::Path) -> Result<u8, Failure> {
        let decided = [
            ("--size", self.arguments.size, "how large its model is"),
            ("--rounds", self.arguments.rounds, "how many rounds it has"),
        ];
        if let Some((name, _, what)) = decided.iter().find(|(_, value, _)| value.is_some()) {
            let text = format!("the run file of the coordinator at {address} decides {what}, not {name}");
            return Err(Failure::new(USAGE, text).with_hint(Some(format!(
                "leave {name} away, or --coordinator and --authority for a coordinator of the load's own"
            ))));
        }
        let authority =
            Authority::open(authority).map_err(|error| Failure::new(INVALID, &error).with_hint(error.hint()))?;
        self.output.say(&format!("{} clients towards {address}", self.arguments.clients));
        self.against(address, &authority, None)
    }

    /// Against a coordinator of its own, of which nothing is left.
    fn ours(&self) -> Result<u8, Failure> {
        let mut deployment = Deployment::new(self.arguments)?;
        let folder = deployment.folder().display();
        self.output.say(&format!("{} clients and a coordinator on this machine, in {folder}", self.arguments.clients));
        let ended = self.against_own(&mut deployment);
        deployment.children.end();
        ended
    }

    fn against_own(&self, deployment: &mut Deployment) -> Result<u8, Failure> {
        let Some(address) = deployment.start(|| self.signal.is_cancelled())? else { return Ok(exit::INTERRUPTED) };
        self.against(&address, &deployment.authority, Some(&mut deployment.children))
    }

    /// Plays, prints what was seen, and says what of it is a failure.
    fn against(&self, address: &str, authority: &Authority, mut own: Option<&mut Children>) -> Result<u8, Failure> {
        let members = self.members(authority)?;
        let clients = members.len();
        let tally = Arc::new(Mutex::new(Tally::new(super::sim::now())));
        let peak = self.runtime.block_on(self.play(address, members, &tally, own.as_deref_mut()))?;
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.end(super::sim::now(), peak);
        print(self.output, &tally);
        if self.signal.is_cancelled() {
            return Ok(exit::INTERRUPTED);
        }
        if let Some(coordinator) = own
            && (tally.is_over() || coordinator.coordinator_has_ended())
        {
            coordinator.coordinator_ended()?;
        }
        match tally.failure() {
            Some((count, reason)) => {
                Err(failed(format!("{count} clients ended early, the last one: {reason}")).with_hint(hint(reason)))
            }
            None if tally.joined() == 0 => {
                let text = format!("none of {clients} clients joined in {}", duration(tally.seconds()));
                Err(failed(text)
                    .with_hint(Some("is a coordinator of this authority at the address? see `tributary doctor`")))
            }
            None => Ok(exit::OK),
        }
    }

    /// Fresh identities.
    fn members(&self, authority: &Authority) -> Result<Vec<(ClientId, Membership)>, Failure> {
        let clients = usize::try_from(self.arguments.clients).expect("bounded by the argument's range");
        let member = |index| {
            let name = ClientId::simulated(index, clients);
            let identity =
                Identity { federation: authority.federation().to_owned(), role: Role::Client, name: name.clone() };
            let credentials = authority.issue(&identity, VALIDITY, certs::now()).map_err(failed)?;
            Ok((name, Membership::fixed(credentials)))
        };
        (0..clients).map(member).collect()
    }

    /// Plays every client until the run is over, the time is up, a signal comes, or a coordinator of its own has ended or
    /// waits for a client that will not come; the peak of the coordinator's memory, in bytes.
    async fn play(
        &self,
        address: &str,
        members: Vec<(ClientId, Membership)>,
        tally: &Arc<Mutex<Tally>>,
        mut own: Option<&mut Children>,
    ) -> Result<Option<u64>, Failure> {
        let stop = self.signal.child_token();
        let mut clients = JoinSet::new();
        for (name, membership) in members {
            clients.spawn(self.member(name, membership, address, tally, &stop).play());
        }
        let longest = async {
            match self.arguments.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(longest);
        let mut look = tokio::time::interval(LOOK);
        let pid = own.as_ref().and_then(|own| own.coordinator_id()).or(self.arguments.pid);
        let mut peak = None;
        loop {
            tokio::select! {
                () = &mut longest, if !stop.is_cancelled() => stop.cancel(),
                _ = look.tick() => {
                    // The coordinator may be gone when the last client is.
                    peak = pid.and_then(memory::peak).or(peak);
                    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    if own.as_mut().is_some_and(|own| own.coordinator_has_ended() || tally.is_in_vain()) {
                        stop.cancel();
                    }
                }
                ended = clients.join_next() => match ended {
                    Some(ended) => ended.map_err(failed)?,
                    None => return Ok(peak),
                },
            }
        }
    }

    fn member(
        &self,
        name: ClientId,
        membership: Membership,
        address: &str,
        tally: &Arc<Mutex<Tally>>,
        stop: &CancellationToken,
    ) -> Member {
        Member {
            seed: Seed(self.arguments.seed),
            settings: agent::Settings {
                name,
                coordinator: address.to_owned(),
                device: "none".to_owned(),
                give_up_after: Some(GIVE_UP_AFTER),
                once: true,
                windows: Windows::default(),
                keep_alive: KEEP_ALIVE,
                idle: IDLE_TIMEOUT,
                permit_seconds: agent::PERMIT_SECONDS,
                models: None,
                // Its updates are synthetic: nobody trained for them.
                outbox: None,
            },
            membership,
            think: Duration::from_secs_f64(self.arguments.think),
            churn: self.arguments.churn,
            cut: self.arguments.cut,
            tally: Arc::clone(tally),
            stop: stop.clone(),
        }
    }
}

/// All clients of a load come from one address, unlike those that it stands for.
fn hint(reason: &str) -> Option<&'static str> {
    reason.contains("refused").then_some(
        "the coordinator bears so many handshakes of one address; raise it there with --handshakes-per-address",
    )
}

fn print(output: Output, tally: &Tally) {
    if output.format != Format::Text {
        return output.document(&tally.to_json());
    }
    for (what, value) in tally.to_lines() {
        output.result(&format!("{what:<15} {value}"));
    }
}
