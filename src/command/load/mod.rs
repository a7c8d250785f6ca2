//! `tributary load`: many client machines in one process, over real QUIC, with updates that nobody trained. What an
//! operator runs against a coordinator before trusting a deployment.

mod synthetic;
mod tally;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::Authority;
use tributary_client::agent::{self, Membership, Status};
use tributary_client::cli::stop;
use tributary_common::id::{ClientId, Round, Seed, Ticket};
use tributary_common::identity::{Identity, Role};
use tributary_common::message::Done;
use tributary_common::net::{IDLE_TIMEOUT, KEEP_ALIVE, Windows};
use tributary_common::rng::{self, Purpose, Stream};

use super::certs;
use crate::arguments;
use crate::exit::{self, Failure, INVALID, RUN_FAILED};
use crate::output::{Format, Output, duration};
use synthetic::Synthetic;
pub(super) use synthetic::{layout, update};
use tally::Tally;

/// The certificates of the clients are valid for a day.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// A cut comes at a random moment within this after the work began, so that it meets training, upload and waiting.
const CUT_WITHIN: Duration = Duration::from_millis(50);

/// A client that leaves is away for a random time up to this.
const AWAY: Duration = Duration::from_secs(2);

/// How often the coordinator's memory is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long a client tries to reach the coordinator before it counts as failed.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(RUN_FAILED, error)
}

pub(super) fn run(arguments: &arguments::Load, output: Output) -> Result<u8, Failure> {
    let authority =
        Authority::open(&arguments.authority).map_err(|error| Failure::new(INVALID, &error).with_hint(error.hint()))?;
    let clients = usize::try_from(arguments.clients).expect("bounded by the argument's range");
    let mut members = Vec::with_capacity(clients);
    for index in 0..clients {
        let name = ClientId::simulated(index, clients);
        let identity =
            Identity { federation: authority.federation().to_owned(), role: Role::Client, name: name.clone() };
        let credentials = authority.issue(&identity, VALIDITY, certs::now()).map_err(failed)?;
        members.push((name, Membership::fixed(credentials)));
    }
    output.say(&format!("{clients} clients towards {}", arguments.coordinator));
    let runtime = tokio::runtime::Runtime::new().map_err(failed)?;
    let (tally, interrupted) = runtime.block_on(play(arguments, members))?;
    print(output, &tally);
    if interrupted {
        return Ok(exit::INTERRUPTED);
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

/// All clients of a load come from one address, unlike those that it stands for.
fn hint(reason: &str) -> Option<&'static str> {
    reason.contains("refused").then_some(
        "the coordinator bears so many handshakes of one address; raise it there with --handshakes-per-address",
    )
}

/// Plays every client until the run is over, the time is up, or a signal comes.
async fn play(arguments: &arguments::Load, members: Vec<(ClientId, Membership)>) -> Result<(Tally, bool), Failure> {
    let mut signals = JoinSet::new();
    let signal = stop::token(false, &mut signals).map_err(failed)?;
    let stop = signal.child_token();
    let tally = Arc::new(Mutex::new(Tally::new(super::sim::now())));
    let mut clients = JoinSet::new();
    for (name, membership) in members {
        let member = Member {
            seed: Seed(arguments.seed),
            settings: agent::Settings {
                name,
                coordinator: arguments.coordinator.clone(),
                device: "none".to_owned(),
                give_up_after: Some(GIVE_UP_AFTER),
                once: true,
                windows: Windows::default(),
                keep_alive: KEEP_ALIVE,
                idle: IDLE_TIMEOUT,
                models: None,
                // Its updates are synthetic: nobody trained for them.
                outbox: None,
            },
            membership,
            think: Duration::from_secs_f64(arguments.think),
            churn: arguments.churn,
            cut: arguments.cut,
            tally: Arc::clone(&tally),
            stop: stop.clone(),
        };
        clients.spawn(member.play());
    }
    let longest = async {
        match arguments.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(longest);
    let mut look = tokio::time::interval(LOOK);
    let mut peak = None;
    loop {
        tokio::select! {
            () = &mut longest, if !stop.is_cancelled() => stop.cancel(),
            // The coordinator may be gone when the last client is.
            _ = look.tick(), if arguments.pid.is_some() => peak = arguments.pid.and_then(tally::peak_memory).or(peak),
            ended = clients.join_next() => match ended {
                Some(ended) => ended.map_err(failed)?,
                None => break,
            },
        }
    }
    let mut tally =
        Arc::into_inner(tally).expect("every client has ended").into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.end(super::sim::now(), peak);
    Ok((tally, signal.is_cancelled()))
}

/// One client with what it may do to the coordinator.
struct Member {
    settings: agent::Settings,
    membership: Membership,
    seed: Seed,
    think: Duration,
    /// Probability to leave for a while when work comes.
    churn: f64,
    /// Probability to lose the connection, and all work, soon after work came.
    cut: f64,
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
}

impl Member {
    /// Comes, works, is cut off or leaves, and comes again, until the run is over.
    async fn play(self) {
        for stay in 0.. {
            let mut rng = rng::stream(self.seed, Round(stay), Some(&self.settings.name), Purpose::Faults);
            let away = AWAY.mul_f64(rng.uniform());
            match self.stay(rng).await {
                Ok(None) => {}
                // The run is over for everybody: who is away now would look for a coordinator that is gone.
                Ok(Some(_)) => return self.stop.cancel(),
                Err(error) => return self.tally().failed(&error.to_string()),
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(away) => {}
            }
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From one connection to its end; nothing is remembered of it.
    async fn stay(&self, mut rng: Stream) -> Result<Option<Done>, agent::Error> {
        let gone = self.stop.child_token();
        let is_cut = Notify::new();
        let cut_after = CUT_WITHIN.mul_f64(rng.uniform());
        let worker = Synthetic::new(&self.settings.name, self.think);
        let trained = worker.trained();
        let tell = |status: Status| {
            if let Status::Working { ticket: Ticket::Train { .. }, .. } = &status {
                let drawn = rng.uniform();
                if drawn < self.churn {
                    self.tally().left();
                    gone.cancel();
                } else if drawn < self.churn + self.cut {
                    is_cut.notify_one();
                }
            }
            let waited = trained.since(&status);
            self.tally().status(&status, waited);
        };
        let cutter = async {
            is_cut.notified().await;
            tokio::time::sleep(cut_after).await;
            self.tally().cut();
            gone.cancel();
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            ended = agent::run(self.settings.clone(), self.membership.clone(), worker, gone.clone(), tell) => ended,
            never = cutter => match never {},
        }
    }
}

fn print(output: Output, tally: &Tally) {
    if output.format != Format::Text {
        return output.document(&tally.to_json());
    }
    for (what, value) in tally.to_lines() {
        output.result(&format!("{what:<15} {value}"));
    }
}
