//! One connection: messages and outcomes become events, effects become messages, transfers and orders to the thread.
//!
//! What outlives a connection stays in [`Session`]: the machine, the training thread and an update that was not
//! acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn::{Connection, ConnectionError, SendStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_common::Digest;
use tributary_common::id::{RunId, Ticket};
use tributary_common::message::{
    self, Hello, Offer, Put, Request, Results, ToClient, ToCoordinator, Welcome, short_text,
};
use tributary_common::net::{self, ANSWER_SECONDS, FrameReader};
use tributary_common::parameters::{Layout, Parameters};

use super::models::Models;
use super::outbox::{Outbox, Restored};
use super::transfer::{Fault, Fetched};
use super::transfers::{Transferred, Transfers};
use super::worker::{Finished, Order, Outcome, Prepared, Thread};
use super::{Ended, Failure, Membership, Settings, Status, silence, transfer};
use crate::machine::{Effect, Event, Machine};

/// Messages that may wait between the reader's task and the session.
const INBOX: usize = 16;

/// A loss of the connection that ended the handshake or later: worth another try, or not.
pub(super) fn failure(error: &ConnectionError) -> Failure {
    match refusal(error) {
        Some(reason) => Failure::NotAuthorised(reason),
        None => Failure::Lost(error.to_string()),
    }
}

fn refusal(error: &ConnectionError) -> Option<String> {
    match error {
        ConnectionError::TransportError(error) => tributary_certs::tls::refusal(u64::from(error.code), &error.reason),
        ConnectionError::ConnectionClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason);
            tributary_certs::tls::refusal(u64::from(close.error_code), &reason)
        }
        ConnectionError::ApplicationClosed(close) if close.error_code == net::close_code::NOT_ALLOWED => {
            Some(String::from_utf8_lossy(&close.reason).into_owned())
        }
        _ => None,
    }
}

/// Whether the coordinator closed every connection.
fn is_end(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == net::close_code::DONE)
}

/// What a piece of work has brought so far.
enum Holding {
    Model,
    Results(Box<Results>),
    Update { header: Box<Put>, update: Parameters },
}

pub(super) struct Session {
    machine: Machine,
    thread: Thread,
    holding: BTreeMap<Ticket, Holding>,
    cancels: BTreeMap<Ticket, Arc<AtomicBool>>,
    layout: Option<Arc<Layout>>,
    plan: Option<String>,
    prepared: Option<Result<Prepared, String>>,
    joined: bool,
    /// Over how long the coordinator wants its clients to come back, were it gone; what it said last.
    named: Duration,
    /// That, if the last connection ended because the coordinator did.
    window: Duration,
    /// The run that the machine's work is of.
    run: Option<RunId>,
    outbox: Option<Outbox>,
    models: Models,
    transfers: Transfers,
    /// The update that was given last, on whatever connection.
    given: Option<Ticket>,
    permit_seconds: u64,
    /// What `Hello` said that this client holds, until the machine has it.
    claimed: Option<Ticket>,
}

impl Session {
    pub(super) fn new(settings: &Settings, thread: Thread) -> Self {
        Self {
            machine: Machine::new(),
            thread,
            holding: BTreeMap::new(),
            cancels: BTreeMap::new(),
            layout: None,
            plan: None,
            prepared: None,
            joined: false,
            named: Duration::ZERO,
            window: Duration::ZERO,
            run: None,
            outbox: settings.outbox.clone(),
            models: Models::new(settings.models.clone()),
            transfers: Transfers::new(settings.name.clone()),
            given: None,
            permit_seconds: settings.permit_seconds,
            claimed: None,
        }
    }

    /// The finished update at hand: the machine's, or what an earlier process left.
    fn held(&self) -> Option<message::Holding> {
        let of_machine = self.run.zip(self.machine.holding());
        let left = || self.outbox.as_ref()?.newest().ok()?.filter(|(run, _)| self.run.is_none_or(|at| at == *run));
        let is_free = self.machine.phase().is_none();
        of_machine.or_else(|| if is_free { left() } else { None }).map(|(run, ticket)| message::Holding { run, ticket })
    }

    /// Work of another run is nobody's here: rounds of the same numbers are not the same rounds.
    fn enter(&mut self, run: RunId) {
        if self.run.is_some_and(|before| before != run) {
            self.cancels.values().for_each(|cancel| cancel.store(true, Ordering::Relaxed));
            self.cancels.clear();
            self.holding.clear();
            self.machine = Machine::new();
        }
        self.run = Some(run);
    }

    /// A finished update whose work is known to be over.
    fn forget_kept(&self, held: Option<message::Holding>) {
        if let (Some(outbox), Some(held)) = (&self.outbox, held)
            && let Err(error) = outbox.forget(held.run, held.ticket)
        {
            tracing::warn!(%error, "a finished update could not be removed");
        }
    }

    /// Over how long this client and the coordinator's others come back, if they have all lost it.
    pub(super) const fn window(&self) -> Duration {
        self.window
    }

    /// Whether the last connection got as far as `Welcome`.
    pub(super) const fn has_joined(&self) -> bool {
        self.joined
    }

    /// Why the data do not fit, if they do not.
    pub(super) fn unfit(&self) -> Option<&str> {
        self.prepared.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(
        &mut self,
        settings: &Settings,
        membership: &mut Membership,
        connection: &Connection,
        stop: &CancellationToken,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Ended {
        self.joined = false;
        self.window = Duration::ZERO;
        let result = self.talk(settings, membership, connection, stop, tell).await;
        let mut none = Vec::new();
        self.machine.step(Event::Disconnected, &mut none);
        let ended = match result {
            Ok(ended) => ended,
            // The close reason says more than the stream that broke because of it.
            Err(error) => match connection.close_reason() {
                Some(reason) => {
                    // Not this client alone: the coordinator ended, or another process of it knows nobody.
                    if matches!(reason, ConnectionError::Reset) || is_end(&reason) {
                        self.window = self.named;
                    }
                    match failure(&reason) {
                        Failure::NotAuthorised(reason) => Ended::NotAuthorised(reason),
                        Failure::Lost(reason) => Ended::Lost(reason),
                    }
                }
                None => Ended::Lost(error.to_string()),
            },
        };
        connection.close(net::close_code::DONE, b"");
        for transferred in self.transfers.break_off().await {
            if let Transferred::Fetched { model, fetched } = transferred {
                drop(self.took(model, fetched));
            }
        }
        ended
    }

    async fn talk(
        &mut self,
        settings: &Settings,
        membership: &mut Membership,
        connection: &Connection,
        stop: &CancellationToken,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<Ended, net::Error> {
        let (mut control, recv) = connection.open_bi().await?;
        let hello = Hello {
            software: env!("CARGO_PKG_VERSION").to_owned(),
            device: settings.device.clone(),
            holding: self.held(),
        };
        let claimed = hello.holding;
        net::write_message(&mut control, &ToCoordinator::Hello(hello)).await?;
        let mut reader = FrameReader::new(recv);
        let first = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS), reader.next::<ToClient>());
        let welcome = match first.await.map_err(|_| net::Error::TimedOut(ANSWER_SECONDS))?? {
            Some(ToClient::Welcome(welcome)) => welcome,
            Some(_) => return Err(net::Error::Refused("the first message is no welcome".to_owned())),
            None => return Err(net::Error::StreamEnded),
        };
        self.joined = true;
        self.named = Duration::from_millis(welcome.return_ms.into());
        self.enter(welcome.run);
        if let Some(done) = welcome.done {
            self.forget_kept(claimed);
            tell(Status::Finished(done.clone()));
            return Ok(Ended::Done(done));
        }
        let mut live = Live::new(connection.clone(), control);
        live.read(reader);
        live.tasks.spawn(silence::ask(connection.clone(), settings.keep_alive, settings.windows));
        self.claimed = claimed.filter(|held| held.run == welcome.run).map(|held| held.ticket);
        self.prepare(welcome, &mut live, tell).await?;
        let mut renewal = JoinSet::new();
        renewal.spawn(membership.clone().renewal(connection.clone(), Duration::ZERO));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                message = live.inbox.recv() => {
                    let Some(message) = message else { return Err(net::Error::StreamEnded) };
                    if let Some(ended) = self.heard(message?, &mut live, tell).await? {
                        return Ok(ended);
                    }
                }
                Some(outcome) = self.thread.outcomes.recv() => self.worked(outcome, &mut live, tell).await?,
                Some(ended) = self.transfers.next() => {
                    let (ticket, transferred) = ended?;
                    self.transferred(ticket, transferred, &mut live, tell).await?;
                }
                Some(renewed) = renewal.join_next() => match renewed.map_err(|error| net::Error::Read(error.to_string()))? {
                    // This connection has shown the old certificate and ends with it, before the new one's half life.
                    Ok(credentials) => {
                        tell(Status::Renewed { expires: credentials.expires() });
                        membership.take(credentials);
                    }
                    Err(reason) => {
                        tell(Status::NotRenewed { reason });
                        renewal.spawn(membership.clone().renewal(connection.clone(), membership.retry_after()));
                    }
                }
            }
        }
    }

    /// The same plan as before the reconnect needs no second loading of data.
    async fn prepare(
        &mut self,
        welcome: Welcome,
        live: &mut Live,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<(), net::Error> {
        if self.plan.as_ref() == Some(&welcome.plan) {
            return match self.prepared.clone() {
                Some(prepared) => self.prepared(prepared, live, tell).await,
                None => Ok(()),
            };
        }
        self.plan = Some(welcome.plan.clone());
        self.prepared = None;
        self.order(Order::Prepare { run: welcome.run, plan: welcome.plan }).await
    }

    async fn prepared(
        &mut self,
        prepared: Result<Prepared, String>,
        live: &mut Live,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<(), net::Error> {
        self.prepared = Some(prepared.clone());
        match prepared {
            Ok(prepared) => {
                self.layout = Some(prepared.layout);
                live.say(&ToCoordinator::Ready(prepared.ready)).await?;
                if let Some(ticket) = self.claimed.take().filter(|ticket| self.machine.holding() != Some(*ticket)) {
                    // It was said to be here: the coordinator need not wait for it until the deadline.
                    let reason = "its finished update could not be read again".to_owned();
                    live.say(&ToCoordinator::Decline { ticket, reason }).await?;
                }
                tell(Status::Joined { examples: prepared.ready.examples });
                self.step(Event::Connected, live, tell).await
            }
            Err(reason) => {
                tell(Status::Unfit { reason: reason.clone() });
                live.say(&ToCoordinator::Unfit { reason: short_text(reason) }).await
            }
        }
    }

    /// Takes up what an earlier process finished, unless there is work at hand.
    fn restore(&mut self, restored: Restored) {
        let Restored { offer, header, update } = restored;
        let ticket = offer.ticket;
        let mut none = Vec::new();
        self.machine.step(Event::Restored { offer, digest: header.digest }, &mut none);
        if self.machine.holding() == Some(ticket) {
            self.holding.insert(ticket, Holding::Update { header: Box::new(header), update });
        }
    }

    async fn order(&self, order: Order) -> Result<(), net::Error> {
        let sent = self.thread.orders.send(order).await;
        sent.map_err(|_| net::Error::Refused("the training thread has ended".to_owned()))
    }

    async fn heard(
        &mut self,
        message: ToClient,
        live: &mut Live,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<Option<Ended>, net::Error> {
        let event = match message {
            ToClient::Offer(offer) => Event::Offered(offer),
            ToClient::Cancel { ticket, reason } => {
                tell(Status::Dropped { ticket, reason });
                Event::Cancelled { ticket }
            }
            ToClient::Receipt { ticket, digest, receipt } => {
                match self.holding.get(&ticket) {
                    Some(Holding::Update { header, .. }) if header.digest != digest => {
                        tracing::warn!(%ticket, %digest, "a receipt came for an update that is not held here");
                    }
                    _ => tell(Status::Acknowledged { ticket, digest, receipt }),
                }
                Event::Received { ticket, digest }
            }
            ToClient::Conflict { ticket, counted } => {
                let reason = format!("another update of this client counts already: {}", counted.short());
                tell(Status::Refused { ticket, reason });
                Event::Refused { ticket }
            }
            ToClient::Verdict { ticket, reason } => {
                tell(Status::Refused { ticket, reason });
                Event::Refused { ticket }
            }
            ToClient::Done(done) => {
                self.forget_kept(self.held());
                tell(Status::Finished(done.clone()));
                return Ok(Some(Ended::Done(done)));
            }
            ToClient::Suspended { return_ms } => {
                self.named = Duration::from_millis(return_ms.into());
                self.window = self.named;
                tell(Status::Suspended);
                return Ok(Some(Ended::Lost("the coordinator stopped for a while".to_owned())));
            }
            ToClient::Welcome(_) => return Err(net::Error::Refused("a second welcome".to_owned())),
        };
        self.step(event, live, tell).await?;
        Ok(None)
    }

    async fn worked(
        &mut self,
        outcome: Outcome,
        live: &mut Live,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<(), net::Error> {
        let event = match outcome {
            Outcome::Prepared { prepared, restored } => {
                if let Some(restored) = restored {
                    self.restore(*restored);
                }
                return self.prepared(prepared, live, tell).await;
            }
            Outcome::Progress { ticket, done, total } => {
                tell(Status::Progress { ticket, done, total });
                return live.progress(ticket, done, total).await;
            }
            Outcome::Trained { ticket, finished: Ok(finished) } => {
                // Whose work was cancelled as it ended, its update is on disk and nobody's.
                let Some(Holding::Model) = self.holding.get(&ticket) else {
                    self.forget_kept(self.run.map(|run| message::Holding { run, ticket }));
                    return Ok(());
                };
                let Finished { header, update } = *finished;
                let digest = Some(header.digest);
                self.holding.insert(ticket, Holding::Update { header: Box::new(header), update });
                Event::Finished { ticket, digest }
            }
            Outcome::Measured { ticket, results: Ok(results) } => {
                if !self.holding.contains_key(&ticket) {
                    return Ok(());
                }
                self.holding.insert(ticket, Holding::Results(results));
                Event::Finished { ticket, digest: None }
            }
            Outcome::Trained { ticket, finished: Err(reason) } | Outcome::Measured { ticket, results: Err(reason) } => {
                Event::Failed { ticket, reason }
            }
        };
        self.step(event, live, tell).await
    }

    async fn transferred(
        &mut self,
        ticket: Ticket,
        transferred: Transferred,
        live: &mut Live,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<(), net::Error> {
        let event = match transferred {
            Transferred::Fetched { model, fetched } => match self.took(model, fetched) {
                Ok(model) => return self.fetched(ticket, model, tell).await,
                Err(fault) => return self.missed(ticket, fault, live, tell).await,
            },
            Transferred::Given(Err(fault)) => return self.missed(ticket, fault, live, tell).await,
            Transferred::Given(Ok(())) => match ticket {
                Ticket::Evaluate { .. } => Event::Reported { ticket },
                // The acknowledgement of an update comes on the control stream.
                Ticket::Train { .. } => return Ok(()),
            },
            Transferred::Waited => Event::Due { ticket },
        };
        self.step(event, live, tell).await
    }

    /// Keeps a model, or what came of it.
    fn took(&mut self, digest: Digest, fetched: Fetched) -> Result<Parameters, Fault> {
        match fetched {
            Fetched::Model(model) => {
                self.models.came(digest, &model);
                Ok(model)
            }
            Fetched::Missed(fault, partial) => {
                partial.into_iter().for_each(|partial| self.models.keep(partial));
                Err(fault)
            }
        }
    }

    /// A model is here.
    async fn fetched(
        &mut self,
        ticket: Ticket,
        model: Parameters,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<(), net::Error> {
        let mut effects = Vec::new();
        self.machine.step(Event::Fetched { ticket }, &mut effects);
        // Only a machine that still wants the work asks for it; then the model is at hand.
        let mut model = Some(model);
        for effect in effects {
            if let (Effect::Work(offer), Some(model)) = (effect, model.take()) {
                tell(Status::Working { ticket, bytes: offer.bytes });
                self.work(&offer, model).await?;
            }
        }
        Ok(())
    }

    /// A transfer came to no end: it is tried again while the connection stands, unless the coordinator said no.
    async fn missed(
        &mut self,
        ticket: Ticket,
        fault: Fault,
        live: &mut Live,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<(), net::Error> {
        let (after, reason) = match fault {
            // The connection broke under it: the work comes again after the reconnect.
            Fault::Broken(error) | Fault::Refused(error) if live.connection.close_reason().is_some() => {
                return Err(error);
            }
            Fault::Broken(error) => (Duration::ZERO, error.to_string()),
            Fault::Later { after, reason } => (after, reason),
            Fault::Refused(error) => {
                return self.step(Event::Failed { ticket, reason: error.to_string() }, live, tell).await;
            }
        };
        // What was cancelled meanwhile is not waited for.
        if let Some(work) = self.machine.phase().filter(|(at, _)| *at == ticket) {
            let wait = self.transfers.wait(&live.connection, work, after);
            tell(Status::Postponed { ticket, reason, wait });
        }
        Ok(())
    }

    async fn work(&mut self, offer: &Offer, model: Parameters) -> Result<(), net::Error> {
        let ticket = offer.ticket;
        let cancel = Arc::new(AtomicBool::new(false));
        self.cancels.insert(ticket, Arc::clone(&cancel));
        self.holding.insert(ticket, Holding::Model);
        let run = self.run.expect("work comes after `Welcome`");
        self.order(match ticket {
            Ticket::Train { round, .. } => Order::Train { run, round, offer: offer.clone(), model, cancel },
            Ticket::Evaluate { .. } => Order::Evaluate { ticket, model, cancel },
        })
        .await
    }

    async fn step(
        &mut self,
        event: Event,
        live: &mut Live,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<(), net::Error> {
        let mut effects = Vec::new();
        self.machine.step(event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Accept { ticket } => live.say(&ToCoordinator::Accept { ticket }).await?,
                Effect::Decline { ticket, reason } => {
                    tell(Status::Dropped { ticket, reason: reason.clone() });
                    live.say(&ToCoordinator::Decline { ticket, reason: short_text(reason) }).await?;
                }
                Effect::Fetch(offer) => self.fetch(offer, live),
                Effect::Forget { ticket } => {
                    self.holding.remove(&ticket);
                    self.cancels.remove(&ticket);
                    self.forget_kept(self.run.map(|run| message::Holding { run, ticket }));
                }
                Effect::Put { ticket } => {
                    if self.put(ticket, live) && self.given.replace(ticket) == Some(ticket) {
                        tell(Status::Resent { ticket });
                    }
                }
                Effect::Report { ticket } => self.report(ticket, live),
                Effect::Stop { ticket } => {
                    if let Some(cancel) = self.cancels.get(&ticket) {
                        cancel.store(true, Ordering::Relaxed);
                    }
                }
                Effect::Work(_) => {}
            }
        }
        Ok(())
    }

    fn fetch(&mut self, offer: Offer, live: &Live) {
        let connection = live.connection.clone();
        let (layout, models) = (&self.layout, &mut self.models);
        self.transfers.begin(offer.ticket, || {
            let kept = match layout {
                Some(layout) if layout.bytes() as u64 == offer.bytes => Ok(models.of(offer.model, layout)),
                Some(layout) => {
                    let (got, needed) = (offer.bytes, layout.bytes());
                    Err(format!("the offered model has {got} bytes, the plan's layers need {needed}"))
                }
                None => Err("an offer came before the data were ready".to_owned()),
            };
            async move {
                let fetched = match kept {
                    Ok(kept) => transfer::fetch(connection, kept, &offer).await,
                    Err(reason) => Fetched::Missed(Fault::Refused(net::Error::Refused(reason)), None),
                };
                Transferred::Fetched { model: offer.model, fetched }
            }
        });
    }

    /// Gives a finished update, unless it is on its way already; returns whether it begins to.
    fn put(&mut self, ticket: Ticket, live: &Live) -> bool {
        let Some(Holding::Update { header, update }) = self.holding.get(&ticket) else { return false };
        let (connection, permit_seconds) = (live.connection.clone(), self.permit_seconds);
        self.transfers.begin(ticket, || {
            let (header, update) = (header.as_ref().clone(), update.clone());
            async move { Transferred::Given(transfer::put(connection, header, update, permit_seconds).await) }
        })
    }

    fn report(&mut self, ticket: Ticket, live: &Live) {
        let Some(Holding::Results(results)) = self.holding.get(&ticket) else { return };
        let connection = live.connection.clone();
        self.transfers.begin(ticket, || {
            let request = Request::Report { ticket, results: results.clone() };
            async move { Transferred::Given(transfer::report(connection, request).await) }
        });
    }
}

/// What lives as long as the connection. Dropping it aborts the tasks.
struct Live {
    connection: Connection,
    control: SendStream,
    /// The reader, and who asks when nothing comes.
    tasks: JoinSet<()>,
    outbox: mpsc::Sender<Result<ToClient, net::Error>>,
    inbox: mpsc::Receiver<Result<ToClient, net::Error>>,
    /// Percent last said for a ticket: a message a percent is a message too many.
    told: Option<(Ticket, u64)>,
}

impl Live {
    fn new(connection: Connection, control: SendStream) -> Self {
        let (outbox, inbox) = mpsc::channel(INBOX);
        Self { connection, control, tasks: JoinSet::new(), outbox, inbox, told: None }
    }

    fn read(&mut self, mut reader: FrameReader) {
        let outbox = self.outbox.clone();
        self.tasks.spawn(async move {
            loop {
                let message = match reader.next::<ToClient>().await {
                    Ok(Some(message)) => Ok(message),
                    Ok(None) => Err(net::Error::StreamEnded),
                    Err(error) => Err(error),
                };
                let is_last = message.is_err();
                if outbox.send(message).await.is_err() || is_last {
                    return;
                }
            }
        });
    }

    async fn say(&mut self, message: &ToCoordinator) -> Result<(), net::Error> {
        net::write_message(&mut self.control, message).await
    }

    async fn progress(&mut self, ticket: Ticket, done: u64, total: u64) -> Result<(), net::Error> {
        let tenth = done * 10 / total.max(1);
        if self.told == Some((ticket, tenth)) {
            return Ok(());
        }
        self.told = Some((ticket, tenth));
        self.say(&ToCoordinator::Progress { ticket, done, total }).await
    }
}
