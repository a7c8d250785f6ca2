//! The driver: the one task that owns the machine. It turns inputs into events, performs effects and never waits for a
//! peer.

mod effect;
mod end;
mod member;
mod start;
mod update;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tributary_common::Digest;
use tributary_common::event::Event as Line;
use tributary_common::id::{ClientId, Ticket};
use tributary_common::message::{Results, Welcome};
use tributary_common::net::close_code;
use tributary_common::parameters::Parameters;
use tributary_common::time::Time;

use super::doubles::Doubles;
use super::fold;
use super::limits::Limits;
use super::models::Models;
use super::partials::Partials;
use super::returning::Returning;
use super::revocation::Revoked;
use super::session::{Input, REVOKED};
use super::spool::Spool;
use super::writer::{self, Safe};
use super::{Error, now};
use crate::Strategy;
use crate::receipt::Receipts;
use crate::record::Recorder;
use crate::round::{Effect, Event, Machine, Reason, Standing};
use crate::store::{Retained, Store};
use member::Member;

pub use end::Ended;
pub(super) use start::Given;

pub(super) struct Driver {
    machine: Machine,
    recorder: Recorder,
    store: Arc<dyn Store>,
    models: Models,
    partials: Arc<Partials>,
    /// The ticket whose updates come in, as the partials know it.
    open: Option<Ticket>,
    /// The last ticket of which an update was not taken: the operator hears of it once.
    postponed: Option<Ticket>,
    model: Parameters,
    receipts: Receipts,
    welcome: Welcome,
    strategy: Strategy,
    limits: Limits,
    inputs: mpsc::Receiver<Input>,
    revoked: Revoked,
    fold: fold::Thread,
    /// None: rows are safe as soon as they are there.
    journal: Option<writer::Thread>,
    members: BTreeMap<ClientId, Member>,
    doubles: Doubles,
    /// How often clients said that they cannot take part.
    unfit: BTreeMap<ClientId, u32>,
    returning: Returning,
    /// Updates that are here but not in the sum.
    staged: BTreeMap<(Ticket, ClientId), Spool>,
    /// What the row of the version says that is being committed.
    retained: Option<Retained>,
    /// What the machine wanted done when it was made.
    effects: Vec<Effect>,
    events: VecDeque<Event>,
    tell: Box<dyn FnMut(&Line) + Send + Sync>,
    began: Instant,
    /// The run's clock when this process began: it goes on from where the one before stopped.
    began_at: Time,
    /// When the run's clock was last given to the journal.
    clock_kept: Time,
    ended: Option<Reason>,
}

/// While a round is open, the run's clock is kept this often: a restart gives back at most so much of a deadline.
const CLOCK_EVERY: Duration = Duration::from_secs(5);

/// The next news of the journal; without one there are none.
async fn safe(journal: &mut Option<writer::Thread>) -> Safe {
    let Some(journal) = journal else { return std::future::pending().await };
    match journal.safe.changed().await {
        Ok(()) => journal.safe.borrow_and_update().clone(),
        Err(_) => Safe::Failed("the journal's thread has ended".to_owned()),
    }
}

impl Driver {
    fn now(&self) -> Time {
        self.began_at + now().duration_since(self.began)
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<Ended, Error> {
        if let Err(error) = self.serve(&stop).await {
            // Whatever failed, clients keep their work and come back: another process goes on with the run.
            self.pause();
            self.close_journal().await;
            return Err(error);
        }
        self.finish(&stop).await
    }

    /// Serves until the machine stops.
    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        for effect in std::mem::take(&mut self.effects) {
            self.perform(effect).await?;
        }
        self.mark_best().await?;
        self.settle().await?;
        let mut stop_asked = false;
        while self.ended.is_none() {
            let wake = self.machine.wake_at().into_iter().chain(self.clock_due()).min();
            let wake = wake.map(|at| self.began + at.since(self.began_at));
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // In this order: what is rare is never kept waiting by what peers send.
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stop_asked => {
                    stop_asked = true;
                    self.events.push_back(Event::StopAsked);
                }
                () = sleep => self.events.push_back(Event::Wake),
                Some(done) = self.fold.done.recv() => self.folded(done),
                safe = safe(&mut self.journal) => self.appended(safe),
                Some(input) = self.inputs.recv() => self.input(input),
            }
            self.settle().await?;
            self.keep_clock().await;
        }
        Ok(())
    }

    /// When the run's clock is to be kept next; only an open round has a deadline that it matters to.
    fn clock_due(&self) -> Option<Time> {
        self.journal.as_ref()?;
        self.machine.open_ticket().map(|_| self.clock_kept + CLOCK_EVERY)
    }

    async fn keep_clock(&mut self) {
        let now = self.now();
        if self.clock_due().is_some_and(|due| due <= now) {
            self.clock_kept = now;
            self.write(writer::Order::Clock(now)).await;
        }
    }

    /// A thread that has ended says why by what is safe, not here.
    async fn write(&self, order: writer::Order) {
        if let Some(journal) = &self.journal {
            drop(journal.orders.send(order).await);
        }
    }

    /// Steps the machine until nothing is left to do at once.
    async fn settle(&mut self) -> Result<(), Error> {
        while let Some(event) = self.events.pop_front() {
            let mut effects = Vec::new();
            self.machine.step(self.now(), event, &mut effects);
            for effect in effects {
                self.perform(effect).await?;
            }
        }
        let open = self.machine.open_ticket();
        // What is suspended goes on in the next process.
        if open != self.open && self.ended.is_none() {
            self.open = open;
            self.partials.keep_only(open);
        }
        Ok(())
    }

    fn appended(&mut self, safe: Safe) {
        self.events.push_back(match safe {
            Safe::Below(0) => return,
            Safe::Below(next) => Event::Appended { sequence: next - 1 },
            Safe::Failed(reason) => Event::StoreFailed { reason },
        });
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Admit { client, put, answer } => self.admit(client, &put, answer),
            Input::Fetched { client, digest, bytes } => self.fetched(&client, digest, bytes),
            Input::Gone { client, connection } => self.gone(client, connection),
            Input::Hello { handle, .. } if self.is_revoked(&handle.serial) => {
                handle.close(close_code::NOT_ALLOWED, REVOKED);
            }
            Input::Hello { identity, hello, handle, under_way } => self.came(identity, &hello, handle, under_way),
            Input::Notice { client, text } => drop(self.publish(&Recorder::notice(client, text))),
            Input::Postponed { client, ticket, reason } => self.postponed(client, ticket, reason),
            Input::Refused { client, ticket, reason } => {
                self.events.push_back(Event::Refused { client, ticket, reason });
            }
            // What was on its way when the list changed comes too late, whatever it is.
            Input::Report { serial, .. } if self.is_revoked(&serial) => {}
            Input::Report { client, ticket, results, taken, .. } => {
                self.measured(client, ticket, &results);
                // Whoever gave them may be gone.
                let _ = taken.send(());
            }
            Input::Said { client, connection, message } => self.said(client, connection, message),
            Input::Staged { client, serial, put, .. } if self.is_revoked(&serial) => {
                self.events.push_back(Event::Refused { client, ticket: put.ticket, reason: REVOKED.to_owned() });
            }
            Input::Staged { client, put, spool, .. } => self.staged(client, &put, spool),
        }
    }

    /// A request for a model does not say what for: who is asked to measure it fetches it for that, and trains on it afterwards
    /// without a second one.
    fn fetched(&mut self, client: &ClientId, digest: Digest, bytes: u64) {
        let mut measures = self.models.versions(digest).map(|version| Ticket::Evaluate { version });
        let measured = measures.find(|ticket| self.machine.standing(client, *ticket) == Standing::Open);
        let ticket = measured.or_else(|| self.machine.open_ticket());
        self.recorder.sent(ticket.unwrap_or(Ticket::Evaluate { version: self.machine.version() }), bytes);
    }

    fn measured(&mut self, client: ClientId, ticket: Ticket, results: &Results) {
        let Ticket::Evaluate { version } = ticket else { return };
        if self.machine.standing(&client, ticket) == Standing::Open
            && let Err(reason) = self.recorder.measured(version, &client, results)
        {
            drop(self.publish(&Recorder::notice(Some(client.clone()), reason)));
        }
        // Before the answer that may end the evaluation, so that the next round does not open on a reached target.
        if self.recorder.reaches_target(version) {
            self.events.push_back(Event::TargetReached);
        }
        self.events.push_back(Event::Evaluated { client, ticket });
    }

    fn folded(&mut self, done: fold::Done) {
        let event = match done {
            fold::Done::Closed { ticket } => Event::Closed { ticket },
            fold::Done::Committed { version, digest, retained, model } => {
                self.retained = Some(retained);
                self.models.add(version, digest, model.clone());
                self.model = model;
                Event::Committed { version, digest }
            }
            fold::Done::Failed(reason) => Event::StoreFailed { reason },
        };
        self.events.push_back(event);
    }

    fn publish(&mut self, line: &Line) -> Result<(), Error> {
        self.store.event(line)?;
        (self.tell)(line);
        Ok(())
    }
}
