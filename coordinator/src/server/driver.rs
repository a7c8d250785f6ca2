//! The driver: the one task that owns the machine. It turns inputs into events, performs effects and never waits for a
//! peer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tributary_certs::Serial;
use tributary_common::Digest;
use tributary_common::event::Event as Line;
use tributary_common::id::{ClientId, RunId, Slot as SlotId, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::message::{Done, Offer, Put, Results, ToClient, ToCoordinator, Welcome, short_text};
use tributary_common::net::{System, close_code};
use tributary_common::parameters::Parameters;
use tributary_common::sum::Weight;
use tributary_common::time::Time;

use super::doubles::Doubles;
use super::fold::{self, Order};
use super::limits::Limits;
use super::models::Models;
use super::partials::Partials;
use super::returning::Returning;
use super::revocation::Revoked;
use super::session::{Admission, ConnectionId, Handle, Input, REVOKED};
use super::spool::Spool;
use super::writer::{self, Safe};
use super::{Error, Run};
use crate::Strategy;
use crate::receipt::{self, Receipts};
use crate::record::{Recorder, reason_word};
use crate::round::{Effect, Event, Machine, Phase, Reason, Recorded, Report, Roster, Row, Standing};
use crate::store::journal::Brings;
use crate::store::{Past, Retained, Store};

/// How a served run ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// The last version.
    pub model: Parameters,
    /// Its number.
    pub version: Version,
    /// The central accuracy of the last measured round.
    pub central_accuracy: Option<f64>,
}

/// A connected member.
struct Member {
    handle: Handle,
    role: Role,
    holding: Option<Ticket>,
    is_ready: bool,
}

/// What a driver is given beside its run.
pub(super) struct Given {
    pub(super) models: Models,
    pub(super) partials: Arc<Partials>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) revoked: Revoked,
    pub(super) limits: Limits,
    pub(super) system: System,
}

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
    events: std::collections::VecDeque<Event>,
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

/// What gives the receipts of `run`, under its key where it has a folder; and what to tell if that is not the key of before.
fn receipts(run: RunId, folder: Option<PathBuf>, rows: &[Recorded]) -> Result<(Receipts, Option<String>), Error> {
    let fresh = tributary_certs::random_key()?;
    let Some(path) = folder else { return Ok((Receipts::new(run, fresh), None)) };
    let is_lost = !path.join(receipt::FILE).exists()
        && rows.iter().any(|recorded| matches!(recorded.row, Row::UpdateAccepted { .. }));
    let lost = format!("`{}` is gone from the run's folder: earlier receipts prove nothing any more", receipt::FILE);
    let receipts = Receipts::kept_in(&path, run, fresh).map_err(|source| crate::store::Error::Io { path, source })?;
    Ok((receipts, is_lost.then_some(lost)))
}

/// The machine of a run, new or as an earlier process left it.
fn machine(run: &Run, rows: &[Recorded], at: Time, effects: &mut Vec<Effect>) -> Machine {
    let settings = run.strategy.rounds.clone();
    if rows.is_empty() {
        let row = Row::RunCreated { run: run.id, config: run.config, model: run.model.digest() };
        Machine::new(settings, Roster::empty(), row, effects)
    } else {
        Machine::resume(settings, Roster::empty(), rows, at, effects)
    }
}

impl Driver {
    /// A driver with what its machine wants done first.
    pub(super) fn start(
        mut run: Run,
        given: Given,
        tell: impl FnMut(&Line) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let Given { models, partials, inputs, revoked, limits, system } = given;
        let Past { rows, at, updates, told, older } = std::mem::take(&mut run.past);
        // The initial model is a version like any other: a restart reads it, and a rollback may go back to it.
        let retained = match rows.is_empty() {
            true => Some(run.store.keep(Version(0), &run.model, &run.optimizer.state())?),
            false => None,
        };
        let mut effects = Vec::new();
        let mut machine = machine(&run, &rows, at, &mut effects);
        let internal = |error: std::io::Error| Error::Internal(error.to_string());
        let aggregator = run.strategy.aggregator.clone();
        let fold = fold::start(run.model.clone(), run.optimizer, aggregator, Arc::clone(&run.store), &system)
            .map_err(internal)?;
        let journal =
            run.journal.take().map(|journal| writer::start(journal, &system)).transpose().map_err(internal)?;
        let version = machine.version();
        let served = older.iter().map(|(older, _)| *older).chain([version]).collect();
        machine.tell_again(at, &rows, &told.iter().map(|line| line.version).collect(), &served, &mut effects);
        let mut recorder = Recorder::new(&run.strategy);
        told.into_iter().for_each(|line| recorder.recall(line));
        let clients = run.strategy.rounds.wait_for;
        let first = recorder.run(run.id, &run.strategy, run.config, run.model.digest(), clients, "coordinator");
        let welcome = Welcome { run: run.id, plan: run.plan, version, done: None, return_ms: 0 };
        let open = machine.open_ticket();
        let (receipts, lost) = receipts(run.id, run.store.folder(), &rows)?;
        let mut driver = Self {
            machine,
            recorder,
            store: run.store,
            models,
            partials,
            open,
            postponed: None,
            model: run.model,
            receipts,
            welcome,
            strategy: run.strategy,
            limits,
            inputs,
            revoked,
            fold,
            journal,
            members: BTreeMap::new(),
            doubles: Doubles::new(limits.connections),
            returning: Returning::new(),
            unfit: BTreeMap::new(),
            staged: updates.into_iter().map(|kept| ((kept.ticket, kept.client.clone()), kept.into())).collect(),
            retained,
            effects,
            events: std::collections::VecDeque::new(),
            tell: Box::new(tell),
            began: super::now(),
            began_at: at,
            clock_kept: at,
            ended: None,
        };
        driver.models.add(version, driver.model.digest(), driver.model.clone());
        if let Some((version, model)) = older {
            driver.models.add(version, model.digest(), model);
        }
        driver.publish(&first)?;
        lost.into_iter().try_for_each(|text| driver.publish(&Recorder::notice(None, text)))?;
        if driver.recorder.has_reached_target(version) {
            driver.events.push_back(Event::TargetReached);
        }
        if !rows.is_empty() {
            driver.events.push_back(Event::Wake);
        }
        driver.partials.keep_only(driver.open);
        Ok(driver)
    }

    fn now(&self) -> Time {
        self.began_at + super::now().duration_since(self.began)
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

    // ---- inputs ----

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
            Input::Fetched { bytes } => self.recorder.sent(bytes),
            Input::Gone { client, connection } => self.gone(client, connection),
            Input::Hello { handle, .. } if self.is_revoked(&handle.serial) => {
                handle.close(close_code::NOT_ALLOWED, REVOKED);
            }
            Input::Hello { identity, hello, handle, under_way } => {
                self.returning.came(super::now().duration_since(self.began), under_way);
                let member = Member {
                    role: identity.role,
                    holding: hello.holding.filter(|held| held.run == self.welcome.run).map(|held| held.ticket),
                    is_ready: false,
                    handle,
                };
                member.handle.say(ToClient::Welcome(Welcome { return_ms: self.return_ms(), ..self.welcome.clone() }));
                let new = member.handle.connection.remote_address();
                if let Some(old) = self.members.insert(identity.name.clone(), member) {
                    self.replaced(identity.name, &old.handle, new);
                }
            }
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

    /// A newer connection of the same identity, from `new`, is right where the network of a client has changed.
    fn replaced(&mut self, client: ClientId, old: &Handle, new: SocketAddr) {
        let is_alive = old.connection.close_reason().is_none();
        old.close(close_code::REPLACED, "a newer connection of the same identity");
        let at = super::now().duration_since(self.began);
        let ends = (old.connection.remote_address(), new);
        let told = if is_alive { self.doubles.replaced(at, &client, ends) } else { None };
        if let Some(text) = told {
            drop(self.publish(&Recorder::notice(Some(client), text)));
        }
    }

    /// Over how long clients should spread their return, were this process to end now. Those whom the run waits for are
    /// counted before they are here: who comes first is told the same.
    fn return_ms(&self) -> u32 {
        let clients = self.members.len().max(self.strategy.rounds.wait_for);
        u32::try_from(self.returning.window(clients).as_millis()).unwrap_or(u32::MAX)
    }

    fn is_revoked(&self, serial: &Serial) -> bool {
        self.revoked.borrow().holds(serial)
    }

    fn gone(&mut self, client: ClientId, connection: ConnectionId) {
        let Some(member) = self.members.get(&client).filter(|member| member.handle.id() == connection) else { return };
        let is_revoked = self.is_revoked(&member.handle.serial);
        self.members.remove(&client);
        if is_revoked {
            drop(self.publish(&Recorder::notice(Some(client.clone()), format!("sent away: {REVOKED}"))));
            self.events.push_back(Event::Revoked { client });
        } else {
            self.events.push_back(Event::Left { client });
        }
    }

    fn said(&mut self, client: ClientId, connection: ConnectionId, message: ToCoordinator) {
        let Some(member) = self.members.get_mut(&client).filter(|member| member.handle.id() == connection) else {
            return;
        };
        let event = match message {
            ToCoordinator::Ready(ready) => {
                member.is_ready = true;
                let (role, holding) = (member.role, member.holding.take());
                let weight = self.strategy.aggregator.announced(ready.examples);
                Event::Joined { client, role, holding, weight }
            }
            ToCoordinator::Unfit { reason } => {
                self.unfit(client, reason);
                return;
            }
            ToCoordinator::Accept { ticket } => Event::TaskAccepted { client, ticket },
            ToCoordinator::Decline { ticket, reason } => {
                Event::TaskDeclined { client, ticket, reason: short_text(reason) }
            }
            ToCoordinator::Progress { ticket, .. } => Event::Progress { client, ticket },
            ToCoordinator::Hello(_) => return,
        };
        self.events.push_back(event);
    }

    /// Tells why a client cannot take part, a few times: what is told is kept.
    fn unfit(&mut self, client: ClientId, reason: String) {
        let told = self.unfit.entry(client.clone()).or_default();
        *told += 1;
        if *told <= self.limits.unfit_notices {
            let text = format!("cannot take part: {}", short_text(reason));
            drop(self.publish(&Recorder::notice(Some(client), text)));
        }
    }

    fn admit(&mut self, client: ClientId, put: &Put, answer: oneshot::Sender<Admission>) {
        let admission = self.admission(&client, put);
        if matches!(admission, Admission::Known) {
            // Nothing needs to be sent again: the machine answers with the receipt alone.
            let (ticket, weight, digest) = (put.ticket, put.weight.max(1), put.digest);
            self.events.push_back(Event::Staged { client, ticket, weight, digest });
        }
        drop(answer.send(admission));
    }

    fn admission(&mut self, client: &ClientId, put: &Put) -> Admission {
        let no = |reason: String| Admission::No(reason);
        match self.machine.standing(client, put.ticket) {
            Standing::Counted(digest) | Standing::Staged(digest) if digest == put.digest => return Admission::Known,
            // Another update for the same work: the bytes need not come.
            Standing::Counted(counted) | Standing::Staged(counted) => {
                self.say(client, ToClient::Conflict { ticket: put.ticket, counted });
                return no("another update was accepted already".to_owned());
            }
            Standing::Closed(why) => return no(why),
            Standing::Open => {}
        }
        match self.flaw(put) {
            None => Admission::Yes,
            // What cannot become good loses its slot now, not at the deadline.
            Some(reason) => {
                let (client, ticket) = (client.clone(), put.ticket);
                self.events.push_back(Event::Refused { client, ticket, reason: reason.clone() });
                no(reason)
            }
        }
    }

    /// What is wrong with an announced update, before a byte of it comes.
    fn flaw(&self, put: &Put) -> Option<String> {
        let size = self.model.layout().bytes() as u64;
        if put.bytes != size {
            return Some(format!("the update has {} bytes, the model {size}", put.bytes));
        }
        if put.version != self.machine.version() {
            return Some(format!("it starts from version {}, the round from {}", put.version, self.machine.version()));
        }
        self.strategy.aggregator.weight(put.weight).err().map(|error| error.to_string())
    }

    fn staged(&mut self, client: ClientId, put: &Put, spool: Spool) {
        self.recorder.received(put.bytes);
        let ticket = put.ticket;
        match self.strategy.aggregator.weight(put.weight) {
            Ok(weight) => {
                // A copy that comes while the first is here is dropped; the machine answers it all the same.
                if self.machine.standing(&client, ticket) == Standing::Open {
                    self.staged.insert((ticket, client.clone()), spool);
                }
                self.events.push_back(Event::Staged { client, ticket, weight: weight.get(), digest: put.digest });
            }
            Err(error) => {
                self.events.push_back(Event::Refused { client, ticket, reason: error.to_string() });
            }
        }
    }

    fn postponed(&mut self, client: ClientId, ticket: Ticket, reason: String) {
        // A client that knocks again and again adds no second line.
        if self.machine.open_ticket() == Some(ticket) && self.postponed.replace(ticket) != Some(ticket) {
            drop(self.publish(&Recorder::notice(None, format!("updates of {ticket} are not taken: {reason}"))));
        }
        self.events.push_back(Event::Postponed { client, ticket, reason });
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

    // ---- effects ----

    async fn perform(&mut self, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::Append { sequence, row } => self.append(sequence, row).await?,
            Effect::Cancel { client, ticket, reason } => self.say(&client, ToClient::Cancel { ticket, reason }),
            Effect::Close { ticket } => self.order(Order::Close { ticket }).await?,
            Effect::Commit { version, .. } => {
                // What was measured before the last commit is over: its model makes room for the next one.
                self.models.forget_before(self.machine.version());
                self.order(Order::Commit { version }).await?;
            }
            Effect::Discard { client, ticket, reason } => {
                let standing = self.machine.standing(&client, ticket);
                // What is discarded may be a second update while the first one waits for its row.
                if !matches!(standing, Standing::Staged(_)) {
                    self.staged.remove(&(ticket, client.clone()));
                }
                let message = match standing {
                    Standing::Counted(counted) | Standing::Staged(counted) => ToClient::Conflict { ticket, counted },
                    Standing::Closed(_) | Standing::Open => ToClient::Verdict { ticket, reason },
                };
                self.say(&client, message);
            }
            Effect::Drop { ticket } => {
                self.staged.retain(|(staged, _), _| *staged != ticket);
                self.order(Order::Abandon).await?;
            }
            Effect::Fold { client, ticket, weight, .. } => self.fold(client, ticket, weight).await?,
            Effect::Goodbye { client, .. } => {
                if let Some(done) = self.welcome.done.clone() {
                    self.say(&client, ToClient::Done(done));
                }
            }
            Effect::Offer { client, ticket, slot, version, left } => self.offer(&client, ticket, slot, version, left),
            Effect::Publish(report) => self.report(report).await?,
            Effect::Receipt { client, ticket, digest } => {
                let receipt = self.receipts.of(&client, ticket, digest);
                self.say(&client, ToClient::Receipt { ticket, digest, receipt });
            }
            Effect::Stop { reason } => self.ended = Some(reason),
        }
        Ok(())
    }

    async fn append(&mut self, sequence: u64, row: Row) -> Result<(), Error> {
        if self.journal.is_none() {
            self.events.push_back(Event::Appended { sequence });
            return Ok(());
        }
        let brings = match &row {
            Row::ModelCommitted { .. } | Row::RunCreated { .. } => {
                Brings::Version(self.retained.take().expect("a version is kept before its row"))
            }
            Row::UpdateAccepted { ticket, client, .. } => {
                let spool = self.staged.get_mut(&(*ticket, client.clone())).expect("what is accepted was staged");
                let payload = spool.payload().map_err(|error| Error::Internal(error.to_string()))?;
                Brings::Update(payload.expect("an update is accepted once"))
            }
            Row::RolledBack { .. } | Row::RoundAborted { .. } | Row::RoundClosing { .. } | Row::RoundOpened { .. } => {
                Brings::Nothing
            }
        };
        let recorded = Recorded { at: self.now(), row };
        self.write(writer::Order::Row { recorded, brings }).await;
        Ok(())
    }

    async fn order(&self, order: Order) -> Result<(), Error> {
        let sent = self.fold.orders.send(order).await;
        sent.map_err(|_| Error::Internal("the fold thread has ended".to_owned()))
    }

    async fn fold(&mut self, client: ClientId, ticket: Ticket, weight: u64) -> Result<(), Error> {
        let staged = self.staged.remove_entry(&(ticket, client));
        let ((_, client), spool) = staged.expect("what is folded was staged");
        let weight = Weight::new(weight).map_err(|error| Error::Internal(error.to_string()))?;
        self.order(Order::Fold { client, spool, weight }).await
    }

    fn offer(&self, client: &ClientId, ticket: Ticket, slot: SlotId, version: Version, left: Duration) {
        let Some(model) = self.models.digest(version) else { return };
        let bytes = self.model.layout().bytes() as u64;
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.say(client, ToClient::Offer(Offer { ticket, slot, version, model, bytes, left_ms }));
    }

    fn say(&self, client: &ClientId, message: ToClient) {
        if let Some(member) = self.members.get(client).filter(|member| member.is_ready) {
            member.handle.say(message);
        }
    }

    async fn report(&mut self, report: Report) -> Result<(), Error> {
        let is_round = matches!(report, Report::Finished { .. });
        for line in self.recorder.report(report) {
            self.publish(&line)?;
        }
        if is_round {
            self.welcome.version = self.machine.version();
            self.mark_best().await?;
        }
        Ok(())
    }

    /// Sees to it that the best version is kept and shown: there may be a later one by now, or an earlier process may have
    /// ended just before.
    async fn mark_best(&self) -> Result<(), Error> {
        match self.recorder.best() {
            Some(version) => self.order(Order::MarkBest { version }).await,
            None => Ok(()),
        }
    }

    fn publish(&mut self, line: &Line) -> Result<(), Error> {
        self.store.event(line)?;
        (self.tell)(line);
        Ok(())
    }

    // ---- the end ----

    async fn finish(mut self, stop: &CancellationToken) -> Result<Ended, Error> {
        let reason = self.ended.take().expect("the loop ended because of it");
        if reason.is_pause() {
            self.pause();
        }
        self.close_journal().await;
        let digest = self.model.digest();
        let path = self.store.model_path().map(|path| path.display().to_string());
        let line = self.recorder.done(&reason, self.now().seconds(), digest, self.model.norm(), path);
        match self.publish(&line) {
            // The same disk failed before; the first failure says more.
            Err(error) if matches!(reason, Reason::StoreFailed { .. }) => {
                tracing::warn!(%error, "the last event could not be kept");
            }
            published => published?,
        }
        if !reason.is_pause() {
            self.serve_the_end(&reason, digest, stop).await;
        }
        Ok(Ended {
            reason,
            version: self.machine.version(),
            central_accuracy: self.recorder.central_accuracy(),
            model: self.model,
        })
    }

    /// Tells everybody to keep what they have and to come back: the run goes on in another process.
    fn pause(&self) {
        let return_ms = self.return_ms();
        for member in self.members.values() {
            member.handle.say(ToClient::Suspended { return_ms });
        }
    }

    /// Waits until everything that was accepted is safe and the journal is closed. Its failure was said before.
    async fn close_journal(&mut self) {
        let Some(writer::Thread { orders, mut safe }) = self.journal.take() else { return };
        drop(orders);
        while safe.changed().await.is_ok() {}
    }

    /// Tells everybody that the run is over, and still serves the final model for a while.
    async fn serve_the_end(&mut self, reason: &Reason, model: Digest, stop: &CancellationToken) {
        let done = Done {
            reason: reason_word(reason).to_owned(),
            version: self.machine.version(),
            model,
            bytes: self.model.layout().bytes() as u64,
        };
        self.welcome.done = Some(done.clone());
        for member in self.members.values() {
            member.handle.say(ToClient::Done(done.clone()));
        }
        let linger = tokio::time::sleep(self.limits.linger);
        tokio::pin!(linger);
        debug_assert!(matches!(self.machine.phase(), Phase::Done { .. }), "the machine takes no events any more");
        while !self.members.is_empty() {
            tokio::select! {
                biased;
                () = &mut linger => return,
                () = stop.cancelled() => return,
                input = self.inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => return,
                },
            }
        }
    }
}
