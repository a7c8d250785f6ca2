//! What a client does with a connection: messages and outcomes become events, effects become messages, transfers and orders
//! to the thread.
//!
//! What outlives a connection stays in [`Session`]: the machine, the training thread, what is at hand of the work, and of
//! models.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quinn::Connection;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_common::id::Ticket;
use tributary_common::message::{self, Hello, Offer, ToClient, ToCoordinator, Welcome, short_text};
use tributary_common::net;
use tributary_common::parameters::{Layout, Parameters};

use super::ending::{self, Ended, Failure};
use super::holdings::{Holding, Holdings};
use super::live::{Live, greet};
use super::outbox::Restored;
use super::transfer::Fault;
use super::transfers::{Brought, Transfers};
use super::worker::{Finished, Order, Outcome, Prepared, Thread};
use super::{Membership, Settings, Status};
use crate::machine::{Effect, Event, Machine, Phase};

pub(super) struct Session {
    machine: Machine,
    thread: Thread,
    holdings: Holdings,
    transfers: Transfers,
    layout: Option<Arc<Layout>>,
    plan: Option<String>,
    prepared: Option<Result<Prepared, String>>,
    joined: bool,
    /// Over how long the coordinator wants its clients to come back, were it gone; what it said last.
    named: Duration,
    /// That, if the last connection ended because the coordinator did.
    window: Duration,
    /// The update that was given last, on whatever connection.
    given: Option<Ticket>,
    /// What `Hello` said that this client holds, until the machine has it.
    claimed: Option<Ticket>,
}

impl Session {
    pub(super) fn new(settings: &Settings, thread: Thread) -> Self {
        Self {
            machine: Machine::new(),
            thread,
            holdings: Holdings::new(settings.outbox.clone()),
            transfers: Transfers::new(settings),
            layout: None,
            plan: None,
            prepared: None,
            joined: false,
            named: Duration::ZERO,
            window: Duration::ZERO,
            given: None,
            claimed: None,
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
                    if ending::is_everybodys(&reason) {
                        self.window = self.named;
                    }
                    Ended::Failed(Failure::from(&reason))
                }
                None => Ended::Failed(Failure::Lost(error.to_string())),
            },
        };
        connection.close(net::close_code::DONE, b"");
        self.transfers.break_off().await;
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
        let hello = Hello {
            software: env!("CARGO_PKG_VERSION").to_owned(),
            device: settings.device.clone(),
            holding: self.holdings.finished(&self.machine),
        };
        let claimed = hello.holding;
        let (control, reader, welcome) = greet(connection, hello).await?;
        self.joined = true;
        self.named = Duration::from_millis(welcome.return_ms.into());
        if self.holdings.enter(welcome.run) {
            self.machine = Machine::new();
        }
        if let Some(done) = welcome.done {
            claimed.into_iter().for_each(|finished| self.holdings.discard(finished));
            tell(Status::Finished(done.clone()));
            return Ok(Ended::Done(done));
        }
        let mut live = Live::new(settings, connection.clone(), control, reader);
        self.claimed = claimed.filter(|held| held.run == welcome.run).map(|held| held.ticket);
        self.prepare(welcome, &mut live, tell).await?;
        let mut renewal = JoinSet::new();
        renewal.spawn(membership.clone().renewal(connection.clone(), Duration::ZERO));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                message = live.next() => {
                    if let Some(ended) = self.heard(message?, &mut live, tell).await? {
                        return Ok(ended);
                    }
                }
                Some(outcome) = self.thread.outcomes.recv() => self.worked(outcome, &mut live, tell).await?,
                Some(ended) = self.transfers.next() => {
                    let (ticket, brought) = ended.map_err(|error| net::Error::Read(error.to_string()))?;
                    self.transferred(ticket, brought, &mut live, tell).await?;
                    // A download that outlived its work may be the one that the next work waits for.
                    if let Some((waits, Phase::Fetching)) = self.machine.phase().filter(|(at, _)| *at != ticket) {
                        self.step(Event::Due { ticket: waits }, &mut live, tell).await?;
                    }
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
            self.holdings.insert(ticket, Holding::Update { header: Box::new(header), update });
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
                match self.holdings.get(ticket) {
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
                let finished = self.holdings.finished(&self.machine);
                finished.into_iter().for_each(|finished| self.holdings.discard(finished));
                tell(Status::Finished(done.clone()));
                return Ok(Some(Ended::Done(done)));
            }
            ToClient::Suspended { return_ms } => {
                self.named = Duration::from_millis(return_ms.into());
                self.window = self.named;
                tell(Status::Suspended);
                let reason = "the coordinator stopped for a while".to_owned();
                return Ok(Some(Ended::Failed(Failure::Lost(reason))));
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
                let Some(Holding::Model(_)) = self.holdings.get(ticket) else {
                    self.holdings.discard(message::Holding { run: self.holdings.run(), ticket });
                    return Ok(());
                };
                let Finished { header, update } = *finished;
                let digest = Some(header.digest);
                self.holdings.insert(ticket, Holding::Update { header: Box::new(header), update });
                Event::Finished { ticket, digest }
            }
            Outcome::Measured { ticket, results: Ok(results) } => {
                if self.holdings.get(ticket).is_none() {
                    return Ok(());
                }
                self.holdings.insert(ticket, Holding::Results(results));
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
        brought: Result<Brought, Fault>,
        live: &mut Live,
        tell: &mut (impl FnMut(Status) + Send),
    ) -> Result<(), net::Error> {
        let event = match brought {
            Ok(Brought::Due) => Event::Due { ticket },
            Ok(Brought::Given) => match ticket {
                Ticket::Evaluate { .. } => Event::Reported { ticket },
                // The acknowledgement of an update comes on the control stream.
                Ticket::Train { .. } => return Ok(()),
            },
            Ok(Brought::Model(model)) => return self.fetched(ticket, model, tell).await,
            Err(fault) => return self.missed(ticket, fault, live, tell).await,
        };
        self.step(event, live, tell).await
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
        self.holdings.insert(ticket, Holding::Model(Arc::clone(&cancel)));
        let run = self.holdings.run();
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
                Effect::Fetch(offer) => self.transfers.fetch(live.connection.clone(), offer, self.layout.as_ref()),
                Effect::Forget { ticket } => self.holdings.forget(ticket),
                Effect::Put { ticket } | Effect::Report { ticket } => self.give(ticket, live, tell),
                Effect::Stop { ticket } => self.holdings.stop(ticket),
                Effect::Work(_) => {}
            }
        }
        Ok(())
    }

    fn give(&mut self, ticket: Ticket, live: &Live, tell: &mut (impl FnMut(Status) + Send)) {
        let connection = live.connection.clone();
        match self.holdings.get(ticket) {
            Some(Holding::Results(results)) => self.transfers.report(connection, ticket, results.clone()),
            Some(Holding::Update { header, update }) => {
                let begins = self.transfers.put(connection, header.as_ref().clone(), update.clone());
                if begins && self.given.replace(ticket) == Some(ticket) {
                    tell(Status::Resent { ticket });
                }
            }
            None | Some(Holding::Model(_)) => {}
        }
    }
}
