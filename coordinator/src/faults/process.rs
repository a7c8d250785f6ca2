//! The coordinator's process: the real machine, and around it what the server's driver, fold thread and journal thread do,
//! in their order, on a virtual clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tributary_common::Digest;
use tributary_common::id::{ClientId, RunId, Ticket, Version};
use tributary_common::message::Offer;
use tributary_common::parameters::Parameters;
use tributary_common::time::Time;

use super::disk::{Found, Pending};
use super::fault::Fault;
use super::message::ToClient;
use super::network::IDLE;
use super::threads::Answer;
use super::work::Update;
use super::world::{Happening, World};
use crate::aggregate::Collected;
use crate::optimize::{Optimizer, Rule, Sgd};
use crate::planted;
use crate::round::{Effect, Event, Machine, Reason, Recorded, Report, Roster, Row, Standing};

/// How often the run's clock is kept while a round is open, as in the driver.
pub(super) const CLOCK_EVERY: Duration = Duration::from_secs(5);

/// A connected client.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) connection: u64,
    pub(super) holding: Option<Ticket>,
    pub(super) is_ready: bool,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) machine: Machine,
    /// Tells its happenings from those of an earlier process.
    pub(super) number: u64,
    began: Time,
    /// The run's clock when it began.
    began_at: Time,
    jumped: Duration,
    /// By the index of the client.
    pub(super) members: Vec<Option<Member>>,
    pub(super) staged: BTreeMap<(Ticket, ClientId), Update>,
    pub(super) orders: VecDeque<Pending>,
    pub(super) clock_order: Option<Time>,
    pub(super) clock_kept: Time,
    /// When the fold thread's last answer comes: answers keep their order.
    pub(super) answered_at: Time,
    pub(super) collected: Option<Collected<Parameters>>,
    pub(super) optimizer: Optimizer,
    pub(super) model: Parameters,
    pub(super) events: VecDeque<Event>,
    timer: Option<Time>,
}

impl Process {
    /// The run's clock.
    fn clock(&self, now: Time) -> Time {
        self.began_at + now.since(self.began) + self.jumped
    }

    /// For how long it has served, by its own clock.
    pub(super) fn served(&self, now: Time) -> Duration {
        self.clock(now).since(self.began_at)
    }
}

impl World {
    pub(super) fn clock(&self) -> Time {
        self.process.as_ref().map_or(Time::ZERO, |process| process.clock(self.now))
    }

    /// The coordinator's clock while it serves, over all its processes.
    fn served(&self) -> Duration {
        self.served_before + self.process.as_ref().map_or(Duration::ZERO, |process| process.served(self.now))
    }

    pub(super) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("only a process performs effects")
    }

    /// A process begins, with whatever is on the disk.
    pub(super) fn start(&mut self) {
        if self.process.is_some() || self.is_over {
            return;
        }
        let found = self.read_disk();
        self.disk.reopen();
        self.processes += 1;
        self.tally.restarts += u64::from(self.processes > 1);
        if let Some(before) = self.clock_before.take() {
            self.oracle.allows(before.since(found.at));
        }
        let (version, digest) = last_version(&found.rows).unwrap_or((Version(0), self.initial.digest()));
        if found.rows.is_empty() {
            self.disk.keep_model(Version(0), self.initial.clone());
        }
        let model = self.read_model(version, digest);
        let mut effects = Vec::new();
        let settings = self.settings.clone();
        let mut machine = if found.rows.is_empty() {
            let row = Row::RunCreated { run: RunId([7; 16]), config: Digest([1; 32]), model: digest };
            Machine::new(settings, Roster::empty(), row, &mut effects)
        } else {
            Machine::resume(settings, Roster::empty(), &found.rows, found.at, &mut effects)
        };
        let is_resumed = !found.rows.is_empty();
        let older = Version(version.0.saturating_sub(1));
        let served = [older, version].into_iter().filter(|one| one.0 > 0 && !self.told.contains(one)).collect();
        machine.tell_again(found.at, &found.rows, &self.told, &served, &mut effects);
        self.note(|| format!("process begins at {:?} behind {} rows", found.at, found.rows.len()));
        self.process = Some(Process {
            machine,
            number: self.processes,
            began: self.now,
            began_at: found.at,
            jumped: Duration::ZERO,
            members: self.devices.iter().map(|_| None).collect(),
            staged: found.updates,
            orders: VecDeque::new(),
            clock_order: None,
            clock_kept: found.at,
            answered_at: self.now,
            collected: None,
            optimizer: Optimizer::new(Rule::Sgd(Sgd::AVERAGING), self.layout.count()),
            model,
            events: is_resumed.then_some(Event::Wake).into_iter().collect(),
            timer: None,
        });
        self.perform_all(effects);
        self.settle();
    }

    /// Reads rows and updates; damage, where there is some, must be named.
    fn read_disk(&mut self) -> Found {
        if self.strikes(Fault::BitFlip) {
            let bit = self.stream.next_u64();
            match self.disk.read(Some(bit)) {
                Err(_) => self.tally.detected += 1,
                Ok(found) => assert!(found.rows.is_empty(), "a changed bit of a row went unnoticed"),
            }
        }
        if self.strikes(Fault::BitFlipInPayload) {
            let bit = self.stream.next_u64();
            if let Some(read) = self.disk.spoilt_update(bit) {
                assert!(read.is_err(), "a changed bit of an update went unnoticed");
                self.tally.detected += 1;
            }
        }
        self.disk.read(None).expect("the rows are those that were written")
    }

    fn read_model(&mut self, version: Version, digest: Digest) -> Parameters {
        if self.strikes(Fault::BitFlipInPayload) {
            let bit = self.stream.next_u64();
            assert!(self.disk.model(version, digest, Some(bit)).is_err(), "a changed bit of a version went unnoticed");
            self.tally.detected += 1;
        }
        self.disk.model(version, digest, None).expect("a version is kept before its row")
    }

    /// The end of one process, unless it came before.
    pub(super) fn kill_process(&mut self, number: u64) {
        if self.process.as_ref().is_some_and(|process| process.number == number) {
            self.kill();
        }
    }

    /// The process ends without a word; what becomes of rows on their way is a matter of luck.
    pub(super) fn kill(&mut self) {
        let Some(process) = self.process.take() else { return };
        self.note(|| format!("process {} is killed", process.number));
        if self.disk.is_busy() {
            if self.stream.below(2) == 0 {
                self.tally.count(Fault::Landed);
                self.land();
            } else {
                self.tally.count(Fault::Torn);
                self.disk.tear();
            }
        }
        self.end_process(&process);
    }

    fn end_process(&mut self, process: &Process) {
        self.clock_before = Some(process.clock(self.now));
        self.served_before += process.served(self.now);
        for index in 0..self.devices.len() {
            if let Some(connection) = self.devices[index].connection {
                let heard = self.between(20, u64::try_from(IDLE.as_millis()).expect("a timeout is short"));
                self.schedule(heard, Happening::Lose { index, connection });
            }
        }
        let pause = self.between(100, 20_000);
        self.schedule(pause, Happening::Start);
    }

    pub(super) fn land(&mut self) -> u64 {
        let (rows, next) = self.disk.settle();
        for recorded in &rows {
            match recorded.row {
                Row::ModelCommitted { .. } => self.tally.commits += 1,
                Row::RoundAborted { .. } => self.tally.aborts += 1,
                _ => {}
            }
            self.oracle.durable(recorded);
        }
        next
    }

    /// Steps the machine until nothing is left to do at once.
    pub(super) fn settle(&mut self) {
        while let Some(event) = self.process.as_mut().and_then(|process| process.events.pop_front()) {
            self.note(|| format!("coordinator: {event:?}"));
            let now = self.clock();
            let mut effects = Vec::new();
            let is_wake = event == Event::Wake;
            let machine = &mut self.process().machine;
            machine.step(now, event, &mut effects);
            // A planted bug has to be found from outside.
            if !planted::is_any() {
                machine.assert_invariants();
                if is_wake {
                    machine.assert_woken(now);
                }
            }
            self.perform_all(effects);
        }
        if self.process.is_some() {
            self.keep_clock();
            self.write();
            self.set_timer();
        }
    }

    fn perform_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.strikes(Fault::CoordinatorKilledMidway) {
                return self.kill();
            }
            self.note(|| format!("coordinator wants {effect:?}"));
            self.perform(effect);
            if self.process.is_none() {
                return;
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Append { row, .. } => self.append(row),
            Effect::Cancel { client, ticket, .. } => self.say_down(&client, ToClient::Cancel { ticket }),
            Effect::Close { ticket } => self.answer(Answer::Closed { ticket }),
            Effect::Commit { ticket, version, .. } => self.answer(Answer::Commit { ticket, version }),
            Effect::Discard { client, ticket, .. } => {
                let process = self.process();
                if !matches!(process.machine.standing(&client, ticket), Standing::Staged(_)) {
                    process.staged.remove(&(ticket, client.clone()));
                }
                self.say_down(&client, ToClient::Verdict { ticket });
            }
            Effect::Drop { ticket } => {
                let process = self.process();
                process.staged.retain(|(staged, _), _| *staged != ticket);
                process.collected = None;
            }
            Effect::Fold { client, ticket, weight } => self.fold(client, ticket, weight),
            Effect::Goodbye { client, .. } => self.say_down(&client, ToClient::Done),
            Effect::Offer { client, ticket, slot, version, left } => {
                let served = self.served();
                self.oracle.offered(ticket, version, served);
                self.tickets.push(ticket);
                let left_ms = u64::try_from(left.as_millis()).expect("a deadline is short");
                let bytes = self.layout.bytes() as u64;
                let offer = Offer { ticket, slot, version, model: Digest([0; 32]), bytes, left_ms };
                self.say_down(&client, ToClient::Offer(offer));
            }
            Effect::Publish(Report::Closed { ticket, .. }) => {
                let served = self.served();
                self.oracle.closed(ticket, served);
            }
            Effect::Publish(Report::Finished { version, .. }) => {
                assert!(self.told.insert(version), "version {version} is told twice");
                assert_eq!(self.told.len() as u64, version.0, "versions are told in their order: {:?}", self.told);
            }
            Effect::Publish(Report::Aborted { .. } | Report::Waiting { .. }) => {}
            Effect::Receipt { client, ticket, digest } => self.say_down(&client, ToClient::Receipt { ticket, digest }),
            Effect::Stop { reason } => self.stop(&reason),
        }
    }

    fn say_down(&mut self, client: &ClientId, message: ToClient) {
        let Some(index) = self.devices.iter().position(|device| device.id == *client) else { return };
        let member = self.process().members[index].as_ref().filter(|member| member.is_ready);
        if let Some(connection) = member.map(|member| member.connection) {
            match &message {
                ToClient::Cancel { ticket } | ToClient::Verdict { ticket } => {
                    self.effort.dismisses(self.now, index, *ticket);
                }
                ToClient::Offer(offer) => self.effort.offers(self.now, index, offer.ticket),
                ToClient::Done => self.effort.dismisses_all(self.now, index),
                _ => {}
            }
            self.send_down(index, connection, message);
        }
    }

    fn append(&mut self, row: Row) {
        let at = self.clock();
        let wall_ms = self.wall_ms();
        let update = match &row {
            Row::UpdateAccepted { ticket, client, .. } => {
                let staged = self.process().staged.get(&(*ticket, client.clone()));
                Some(staged.expect("what is accepted was staged").clone())
            }
            Row::RoundOpened { cohort, weight_max, .. } => {
                self.oracle.opens(cohort, *weight_max);
                None
            }
            _ => None,
        };
        self.process().orders.push_back(Pending { recorded: Recorded { at, row }, wall_ms, update });
    }

    // ---- time ----

    fn set_timer(&mut self) {
        let now = self.now;
        let process = self.process();
        let clock_due = process.machine.open_ticket().map(|_| process.clock_kept + CLOCK_EVERY);
        let wake = process.machine.wake_at().into_iter().chain(clock_due).min();
        let at = wake.map(|at| now + at.since(process.clock(now)));
        if process.timer != at {
            process.timer = at;
            let number = process.number;
            if let Some(at) = at {
                self.schedule_at(at, Happening::Ring { number });
            }
        }
    }

    pub(super) fn ring(&mut self, number: u64) {
        let now = self.now;
        let Some(process) = self.process.as_mut().filter(|process| process.number == number) else { return };
        if process.timer != Some(now) {
            return;
        }
        process.timer = None;
        process.events.push_back(Event::Wake);
        self.settle();
    }

    /// The clock jumps ahead: everything that was due meanwhile is late.
    pub(super) fn jump(&mut self) {
        let by = self.between(1_000, 120_000);
        if let Some(process) = &mut self.process {
            process.jumped += by;
            self.oracle.allows(by);
            self.settle();
        }
    }

    // ---- the end ----

    fn stop(&mut self, reason: &Reason) {
        let mut process = self.process.take().expect("only a process performs effects");
        if matches!(reason, Reason::StoreFailed { .. }) {
            if self.disk.is_busy() {
                self.disk.tear();
            }
        } else {
            // Everything that was accepted is made safe before the process ends.
            if self.disk.is_busy() {
                self.land();
            }
            if !process.orders.is_empty() {
                let at = process.clock(self.now);
                self.disk.begin(process.orders.drain(..).collect(), at);
                self.land();
            }
        }
        self.note(|| format!("process {} stops: {reason}", process.number));
        if *reason == Reason::Rounds {
            self.is_over = true;
            return;
        }
        let message = if reason.is_pause() { ToClient::Suspended } else { ToClient::Done };
        if reason.is_pause() {
            self.effort.pauses(self.now);
        }
        for index in 0..process.members.len() {
            if let Some(connection) = process.members[index].take().map(|member| member.connection) {
                if message == ToClient::Done {
                    self.effort.dismisses_all(self.now, index);
                }
                self.send_down(index, connection, message.clone());
            }
        }
        self.end_process(&process);
    }
}

/// The version that a run stands on after `rows`.
fn last_version(rows: &[Recorded]) -> Option<(Version, Digest)> {
    rows.iter().rev().find_map(|recorded| match recorded.row {
        Row::ModelCommitted { version, digest, .. } => Some((version, digest)),
        Row::RunCreated { model, .. } => Some((Version(0), model)),
        _ => None,
    })
}
