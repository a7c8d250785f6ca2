//! A client's process: the real machine, and around it what the agent keeps for it: the model, the update, the outbox.

use std::collections::BTreeMap;

use tributary_client::machine::{self as client, Effect, Event};
use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket};
use tributary_common::identity::Role;
use tributary_common::message::Offer;
use tributary_common::time::Time;

use super::fault::Fault;
use super::message::{Announced, ToClient, ToCoordinator};
use super::network::Direction;
use super::work::{self, Update};
use super::world::{DEADLINE, Happening, World};

/// What a process holds for a ticket.
#[derive(Clone, Debug)]
enum Held {
    Model(Offer),
    Results,
    Update(Update),
}

#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: ClientId,
    pub(super) role: Role,
    machine: client::Machine,
    /// The number of its process.
    life: u32,
    is_alive: bool,
    pub(super) connection: Option<u64>,
    is_welcome: bool,
    /// What its `Hello` said that it holds.
    claimed: Option<Ticket>,
    held: BTreeMap<Ticket, Held>,
    /// On its disk: the update that was finished last.
    outbox: Option<(Offer, Update)>,
    /// What it sends if its lie is believed.
    lies: BTreeMap<Digest, Update>,
    /// Without a certificate until then.
    pub(super) barred_until: Time,
}

impl Device {
    pub(super) fn new(id: ClientId, role: Role) -> Self {
        Self {
            id,
            role,
            machine: client::Machine::new(),
            life: 0,
            is_alive: true,
            connection: None,
            is_welcome: false,
            claimed: None,
            held: BTreeMap::new(),
            outbox: None,
            lies: BTreeMap::new(),
            barred_until: Time::ZERO,
        }
    }

    /// As the agent's: what the machine returns, or what an earlier process left while there is no work.
    fn holding(&self) -> Option<Ticket> {
        let left = || self.outbox.as_ref().map(|(offer, _)| offer.ticket);
        self.machine.holding().or_else(|| if self.machine.phase().is_none() { left() } else { None })
    }
}

impl World {
    /// Tries to connect; tries again later if that fails.
    pub(super) fn connect(&mut self, index: usize) {
        let device = &self.devices[index];
        if !device.is_alive || device.connection.is_some() {
            return;
        }
        let is_open = ![Direction::Down, Direction::Up].into_iter().any(|direction| self.is_cut(index, direction));
        if self.process.is_none() || !is_open || device.barred_until > self.now {
            return self.connect_later(index);
        }
        self.connections += 1;
        let connection = self.connections;
        let device = &mut self.devices[index];
        device.connection = Some(connection);
        device.is_welcome = false;
        device.claimed = device.holding();
        let hello = ToCoordinator::Hello { holding: device.claimed };
        self.send_up(index, connection, hello);
        // As the agent's deadline for the answer to `Hello`.
        self.schedule(super::network::IDLE, Happening::Unanswered { index, connection });
    }

    fn connect_later(&mut self, index: usize) {
        let backoff = self.between(200, 5_000);
        self.schedule(backoff, Happening::Connect { index });
    }

    /// The answer to `Hello` is overdue.
    pub(super) fn unanswered(&mut self, index: usize, connection: u64) {
        if !self.devices[index].is_welcome {
            self.lose(index, connection);
        }
    }

    /// The client's end of a connection is gone.
    pub(super) fn lose(&mut self, index: usize, connection: u64) {
        let device = &mut self.devices[index];
        if device.connection != Some(connection) {
            return;
        }
        device.connection = None;
        device.is_welcome = false;
        let heard = self.close_heard(index, Direction::Up);
        self.schedule(heard, Happening::Gone { index, connection });
        self.connect_later(index);
        self.step_device(index, Event::Disconnected);
    }

    /// The process ends, and another begins later.
    pub(super) fn kill_device(&mut self, index: usize) {
        let device = &mut self.devices[index];
        device.is_alive = false;
        device.life += 1;
        device.machine = client::Machine::new();
        device.held.clear();
        device.lies.clear();
        if let Some(connection) = device.connection.take() {
            // Nobody says goodbye: the coordinator's idle timeout has to notice.
            self.schedule(super::network::IDLE, Happening::Gone { index, connection });
        }
        let pause = self.between(200, 30_000);
        self.schedule(pause, Happening::Revive { index });
    }

    pub(super) fn revive(&mut self, index: usize) {
        self.devices[index].is_alive = true;
        self.connect(index);
    }

    pub(super) fn hear_down(&mut self, index: usize, connection: u64, message: ToClient) {
        let device = &self.devices[index];
        if device.connection != Some(connection) || (!device.is_welcome && !matches!(message, ToClient::Welcome { .. }))
        {
            return;
        }
        let event = match message {
            ToClient::Cancel { ticket } => Event::Cancelled { ticket },
            ToClient::Done => return self.over(index),
            ToClient::Later { ticket } => {
                let wait = self.between(1_000, 10_000);
                return self.schedule(wait, Happening::Due { index, connection, ticket });
            }
            ToClient::Model { ticket, is_there: true } => Event::Fetched { ticket },
            ToClient::Model { ticket, is_there: false } => {
                self.effort.ends(index, ticket);
                failed(ticket, "the model is not kept")
            }
            ToClient::Offer(offer) => Event::Offered(offer),
            ToClient::Permit { ticket, digest } => return self.upload(index, ticket, digest),
            ToClient::PutOver { is_known: true, .. } => return,
            ToClient::PutOver { ticket, is_known: false } => failed(ticket, "the coordinator refused"),
            ToClient::Receipt { ticket, digest } => {
                self.tally.receipts += 1;
                self.oracle.receipt(index, ticket, digest);
                self.effort.ends(index, ticket);
                Event::Received { ticket, digest }
            }
            ToClient::Reported { ticket } => Event::Reported { ticket },
            ToClient::Suspended => return self.lose(index, connection),
            ToClient::Verdict { ticket } => Event::Refused { ticket },
            ToClient::Welcome { is_done: true } => return self.over(index),
            ToClient::Welcome { is_done: false } => return self.welcomed(index, connection),
        };
        self.step_device(index, event);
    }

    /// An update that was not taken may be given again.
    pub(super) fn due(&mut self, index: usize, connection: u64, ticket: Ticket) {
        if self.devices[index].connection == Some(connection) {
            self.step_device(index, Event::Due { ticket });
        }
    }

    /// The run is over, the coordinator says: nothing is kept for it.
    fn over(&mut self, index: usize) {
        let device = &mut self.devices[index];
        device.machine = client::Machine::new();
        device.held.clear();
        device.outbox = None;
        if let Some(connection) = device.connection {
            self.lose(index, connection);
        }
    }

    fn welcomed(&mut self, index: usize, connection: u64) {
        let device = &mut self.devices[index];
        if device.is_welcome {
            return;
        }
        device.is_welcome = true;
        if let Some((offer, update)) = &device.outbox {
            let (offer, update) = (offer.clone(), update.clone());
            let ticket = offer.ticket;
            let restored = Event::Restored { offer, digest: update.digest };
            device.machine.step(restored, &mut Vec::new());
            if device.machine.holding() == Some(ticket) {
                device.held.insert(ticket, Held::Update(update));
            }
        }
        let claimed = device.claimed.filter(|ticket| device.machine.holding() != Some(*ticket));
        let examples = work::announced(self.seed, index, self.devices[index].life);
        self.send_up(index, connection, ToCoordinator::Ready { examples });
        if let Some(ticket) = claimed {
            self.send_up(index, connection, ToCoordinator::Decline { ticket });
        }
        self.step_device(index, Event::Connected);
    }

    pub(super) fn step_device(&mut self, index: usize, event: Event) {
        self.note(|| format!("client {index}: {event:?}"));
        let mut effects = Vec::new();
        self.devices[index].machine.step(event, &mut effects);
        for effect in effects {
            if self.strikes(Fault::ClientKilledMidway) {
                return self.kill_device(index);
            }
            self.note(|| format!("client {index} wants {effect:?}"));
            self.perform_on_device(index, effect);
        }
    }

    fn perform_on_device(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Accept { ticket } => self.say_up(index, ToCoordinator::Accept { ticket }),
            Effect::Decline { ticket, .. } => self.say_up(index, ToCoordinator::Decline { ticket }),
            Effect::Fetch(offer) => {
                let (ticket, version) = (offer.ticket, offer.version);
                self.devices[index].held.insert(ticket, Held::Model(offer));
                self.say_up(index, ToCoordinator::Get { ticket, version });
            }
            Effect::Forget { ticket } => {
                self.effort.forgets(index, ticket);
                let device = &mut self.devices[index];
                device.held.remove(&ticket);
                device.outbox.take_if(|(offer, _)| offer.ticket == ticket);
            }
            Effect::Put { ticket } => self.put(index, ticket),
            Effect::Report { ticket } => self.say_up(index, ToCoordinator::Report { ticket }),
            // What was stopped ends all the same and finds that nobody wants it.
            Effect::Stop { .. } => {}
            Effect::Work(offer) => self.work(index, offer),
        }
    }

    fn say_up(&mut self, index: usize, message: ToCoordinator) {
        if let Some(connection) = self.devices[index].connection {
            self.send_up(index, connection, message);
        }
    }

    fn work(&mut self, index: usize, offer: Offer) {
        let ticket = offer.ticket;
        let device = &mut self.devices[index];
        device.held.insert(ticket, Held::Model(offer));
        let life = device.life;
        if matches!(ticket, Ticket::Train { .. }) {
            self.effort.begins(index, life, ticket);
        }
        let deadline = u64::try_from(DEADLINE.as_millis()).expect("a deadline is short");
        let is_slow = self.strikes(Fault::Slow);
        let takes = if is_slow { self.between(deadline, 2 * deadline) } else { self.between(500, 15_000) };
        self.schedule(takes / 2, Happening::Halfway { index, life, ticket });
        self.schedule(takes, Happening::Worked { index, life, ticket });
    }

    pub(super) fn halfway(&mut self, index: usize, life: u32, ticket: Ticket) {
        if self.devices[index].life == life {
            self.say_up(index, ToCoordinator::Progress { ticket });
        }
    }

    /// Training or measuring is over: an update is safe in the outbox before the machine hears of it.
    pub(super) fn worked(&mut self, index: usize, life: u32, ticket: Ticket) {
        let device = &mut self.devices[index];
        let Some(Held::Model(offer)) = device.held.get(&ticket).filter(|_| device.life == life) else { return };
        let offer = offer.clone();
        if self.strikes(Fault::Declined) {
            self.effort.ends(index, ticket);
            return self.step_device(index, failed(ticket, "the training failed"));
        }
        let (held, digest) = if matches!(ticket, Ticket::Train { .. }) {
            let update = work::update(&self.layout, self.seed, index, ticket, 0);
            self.oracle.made(index, &update);
            self.devices[index].outbox = Some((offer, update.clone()));
            self.effort.finishes(index, ticket);
            if self.strikes(Fault::ClientKilledMidway) {
                return self.kill_device(index);
            }
            let digest = update.digest;
            (Held::Update(update), Some(digest))
        } else {
            (Held::Results, None)
        };
        self.devices[index].held.insert(ticket, held);
        self.step_device(index, Event::Finished { ticket, digest });
    }

    fn put(&mut self, index: usize, ticket: Ticket) {
        let Some(Held::Update(update)) = self.devices[index].held.get(&ticket) else { return };
        let announced = update.announced();
        if self.strikes(Fault::Conflict) {
            let other = work::update(&self.layout, self.seed, index, ticket, 1);
            self.oracle.made(index, &other);
            self.lie(index, other.announced(), other);
        }
        if self.strikes(Fault::Lied) {
            let (announced, update) = self.a_lie(index, ticket);
            self.lie(index, announced, update);
        }
        self.say_up(index, ToCoordinator::Put(announced));
    }

    fn lie(&mut self, index: usize, announced: Announced, update: Update) {
        self.devices[index].lies.insert(announced.digest, update);
        self.say_up(index, ToCoordinator::Put(announced));
    }

    /// An announcement of what is not what comes, or of what cannot be added.
    fn a_lie(&mut self, index: usize, ticket: Ticket) -> (Announced, Update) {
        let mut update = work::update(&self.layout, self.seed, index, ticket, 2);
        match self.stream.below(4) {
            0 => (Announced { weight: 0, ..update.announced() }, update),
            1 => (Announced { weight: u64::MAX, ..update.announced() }, update),
            2 => {
                let values: Vec<f64> = update.parameters.values().map(|value| value / 0.0).collect();
                update.parameters =
                    tributary_common::parameters::Parameters::of_values(update.parameters.layout().clone(), values);
                update.digest = update.parameters.digest();
                (update.announced(), update)
            }
            _ => (Announced { digest: Digest([7; 32]), ..update.announced() }, update),
        }
    }

    /// A member gives an update for work that is over, was never offered to it, or is not open yet.
    pub(super) fn say_something_stale(&mut self, index: usize) {
        let count = self.tickets.len() as u64;
        if count == 0 || self.devices[index].connection.is_none() {
            return;
        }
        let at = usize::try_from(self.stream.below(count)).expect("below a length");
        let ticket = match (self.tickets[at], self.stream.below(3)) {
            (Ticket::Train { round, attempt }, 0) => Ticket::Train { round, attempt: attempt.next() },
            (Ticket::Train { round, attempt }, 1) => Ticket::Train { round: round.next(), attempt },
            (ticket, _) => ticket,
        };
        let update = work::update(&self.layout, self.seed, index, ticket, 3);
        self.oracle.made(index, &update);
        self.lie(index, update.announced(), update);
    }

    fn upload(&mut self, index: usize, ticket: Ticket, digest: Digest) {
        let device = &mut self.devices[index];
        let (announced, update) = match (device.lies.remove(&digest), device.held.get(&ticket)) {
            (Some(lie), _) => (Announced { digest, ..lie.announced() }, lie),
            (None, Some(Held::Update(update))) => (update.announced(), update.clone()),
            _ => return,
        };
        self.say_up(index, ToCoordinator::Payload { announced, update });
    }
}

fn failed(ticket: Ticket, reason: &str) -> Event {
    Event::Failed { ticket, reason: reason.to_owned() }
}
