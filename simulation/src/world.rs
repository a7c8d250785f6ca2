//! The event loop: one virtual clock, one queue of happenings, the coordinator's machine and the clients' machines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tributary_client::data::Dataset;
use tributary_client::machine::{self as client, Machine as ClientMachine};
use tributary_client::plan::{Batch, Length, Plan, holdout};
use tributary_client::trainer::{PIECE, Trainer};
use tributary_common::Digest;
use tributary_common::config::{self, Document};
use tributary_common::event::Event as Line;
use tributary_common::id::{ClientId, RunId, Slot, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::message::{Offer, Results};
use tributary_common::metrics::Metrics;
use tributary_common::model::initial;
use tributary_common::parameters::Parameters;
use tributary_common::sum::Weight;
use tributary_common::time::Time;
use tributary_coordinator::aggregate::{self, Aggregate, Collected};
use tributary_coordinator::optimize::Optimizer;
use tributary_coordinator::record::Recorder;
use tributary_coordinator::round::{Effect, Event, Machine, Reason, Recorded, Report, Roster, Row};
use tributary_coordinator::store::journal::{Brings, Item, Retained};
use tributary_coordinator::store::{self, Journal, Past, Store};
use tributary_coordinator::{Strategy, Threads};

use crate::link::Link;
use crate::workers::{Key, Measure, Outcome, Pool, Sealed, Train};
use crate::{Population, Settings};

/// The name of the simulated evaluator.
const EVALUATOR: &str = "evaluator";

/// A run that cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Updates cannot be combined.
    #[error("could not combine the updates: {0}")]
    Aggregate(#[from] aggregate::Error),
}

/// A run to simulate.
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What the coordinator does.
    pub strategy: Strategy,
    /// What the clients do.
    pub plan: Arc<Plan>,
    /// Network and devices.
    pub settings: Settings,
    /// Who has which examples.
    pub population: Population,
    /// Digest of the configuration.
    pub config: Digest,
    /// The model to start from.
    pub model: Parameters,
    /// The server optimiser's state.
    pub optimizer: Optimizer,
    /// What an earlier process left; nothing for a new run.
    pub past: Past,
    /// Where versions and events are kept.
    pub store: Arc<dyn Store>,
    /// Where rows are kept, if they are. It gets whole rounds only, without their updates: what a process leaves undone of a
    /// round, the next one computes again.
    pub journal: Option<Journal>,
}

impl Run {
    /// A new run of a run file over `population`, from the model that its seed draws. `model.from` is not read: who has
    /// such a file sets `model` to what is in it.
    ///
    /// # Errors
    /// What is wrong with the run file, where, and what to do.
    pub fn new(
        id: RunId,
        document: &Document,
        population: Population,
        store: Arc<dyn Store>,
    ) -> Result<Self, config::Error> {
        let strategy = Strategy::parse(document)?;
        let plan = Arc::new(Plan::parse(document)?);
        let settings = Settings::parse(document.table().section("sim")?)?;
        let model = initial::parameters(&strategy.model, strategy.rounds.seed);
        let optimizer = Optimizer::new(strategy.optimizer, model.layout().count());
        let config = document.digest();
        let past = Past::default();
        Ok(Self { id, strategy, plan, settings, population, config, model, optimizer, past, store, journal: None })
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({} {})", self.strategy.name, self.id)
    }
}

/// How a simulated run ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// The last version.
    pub model: Parameters,
    /// The central accuracy of the last measured round.
    pub central_accuracy: Option<f64>,
}

/// Simulates `run` to its end, one thread for each of `trainers`. `clock` tells the real time since the start, for people
/// only: where the network and the devices are ideal, the lines of rounds show it. `stop` suspends the run.
///
/// # Errors
/// The store failed.
pub fn simulate(
    mut run: Run,
    trainers: Vec<Box<dyn Trainer>>,
    stop: &AtomicBool,
    clock: &dyn Fn() -> Duration,
    tell: &mut dyn FnMut(&Line),
) -> Result<Ended, Error> {
    let journal = run.journal.take();
    let run = &run;
    let ended = AtomicBool::new(false);
    let stopped = || stop.load(Ordering::Relaxed) || ended.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        let threads = Threads::new(trainers.len());
        let pool = Pool::start(scope, trainers, &run.plan, &stopped);
        let mut world = World::new(run, journal, pool, threads, clock, tell)?;
        let result = world.play(stop);
        // Work that nobody waits for any more ends at its next batch, so that the scope can end.
        ended.store(true, Ordering::Relaxed);
        result
    })
}

/// Something that happens at a time.
enum Happening {
    Client(ClientId, client::Event),
    Coordinator(Event),
    /// A device is done: only now its outcome is asked for.
    Done(ClientId, Ticket),
}

/// What comes first of all that happens at one time. The outcome of measuring is asked for last, so that updates are taken
/// as they come and threads measure while others still train.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Usual,
    Measured,
}

/// A client that has something to do. Nothing is kept of the others.
#[derive(Default)]
struct Device {
    machine: ClientMachine,
    keys: BTreeMap<Ticket, Vec<(On, Key)>>,
    update: Option<(Ticket, Box<Sealed>)>,
    results: Option<Results>,
}

#[derive(Clone, Copy)]
enum On {
    Central,
    Local,
    Train,
    Update,
}

struct World<'a> {
    run: &'a Run,
    pool: Pool<'a>,
    clock: &'a dyn Fn() -> Duration,
    tell: &'a mut dyn FnMut(&Line),
    link: Link,
    machine: Machine,
    recorder: Recorder,
    devices: BTreeMap<ClientId, Device>,
    /// The version that a client has got, and when it was there. Older ones are never offered again and are forgotten here.
    held: BTreeMap<ClientId, (Version, Time)>,
    /// By time, then measuring last, then by the order in which they were scheduled.
    happenings: BTreeMap<(Time, Rank, u64), Happening>,
    scheduled: u64,
    now: Time,
    models: BTreeMap<Version, Parameters>,
    digests: BTreeMap<Version, Digest>,
    model: Parameters,
    optimizer: Optimizer,
    collected: Option<Collected<Parameters>>,
    /// As many for a model as for its clients.
    threads: Threads,
    staged: BTreeMap<(Ticket, ClientId), Parameters>,
    round_began: Duration,
    journal: Option<Journal>,
    /// Rows of the round at hand, which the journal gets at its end.
    rows: Vec<Item>,
    /// What the row of the version says that is being committed.
    retained: Option<Retained>,
    /// What the coordinator's machine wanted done when it was made.
    effects: Vec<Effect>,
    /// Real time from the first offer to the commit, of versions whose report is not out yet.
    took: BTreeMap<Version, Duration>,
    ended: Option<Reason>,
}

impl<'a> World<'a> {
    fn new(
        run: &'a Run,
        journal: Option<Journal>,
        pool: Pool<'a>,
        threads: Threads,
        clock: &'a dyn Fn() -> Duration,
        tell: &'a mut dyn FnMut(&Line),
    ) -> Result<Self, Error> {
        let settings = run.strategy.rounds.clone();
        let roster = match settings.max_weight_share {
            Some(_) => Roster::simulated_with(run.population.announced(run.plan.holdout, &run.strategy.aggregator)),
            None => Roster::simulated(run.population.clients()),
        };
        let mut effects = Vec::new();
        let past = &run.past;
        let retained = match past.rows.is_empty() {
            true => Some(run.store.keep(Version(0), &run.model, &run.optimizer.state())?),
            false => None,
        };
        let mut machine = if past.rows.is_empty() {
            let row = Row::RunCreated { run: run.id, config: run.config, model: run.model.digest() };
            Machine::new(settings, roster, row, &mut effects)
        } else {
            Machine::resume(settings, roster, &past.rows, past.at, &mut effects)
        };
        let version = machine.version();
        let older = past.older.iter().map(|(version, model)| (*version, model.clone()));
        let models: BTreeMap<_, _> = older.chain([(version, run.model.clone())]).collect();
        let told = past.told.iter().map(|line| line.version).collect();
        machine.tell_again(past.at, &past.rows, &told, &models.keys().copied().collect(), &mut effects);
        let mut recorder = Recorder::new(&run.strategy);
        past.told.iter().for_each(|line| recorder.recall(line.clone()));
        let mut world = Self {
            link: Link::new(run.settings, run.strategy.rounds.seed),
            recorder,
            devices: BTreeMap::new(),
            held: BTreeMap::new(),
            happenings: BTreeMap::new(),
            scheduled: 0,
            now: past.at,
            digests: models.iter().map(|(version, model)| (*version, model.digest())).collect(),
            models,
            model: run.model.clone(),
            optimizer: run.optimizer.clone(),
            collected: None,
            threads,
            staged: BTreeMap::new(),
            journal,
            rows: Vec::new(),
            retained,
            effects,
            round_began: Duration::ZERO,
            took: BTreeMap::new(),
            ended: None,
            machine,
            run,
            pool,
            clock,
            tell,
        };
        // Only a served run that is gone on with here has updates of an open round.
        for kept in &past.updates {
            world.staged.insert((kept.ticket, kept.client.clone()), kept.load(run.model.layout())?);
        }
        if world.recorder.has_reached_target(version) {
            world.happen(Happening::Coordinator(Event::TargetReached), Duration::ZERO);
        }
        if !past.rows.is_empty() {
            world.happen(Happening::Coordinator(Event::Wake), Duration::ZERO);
        }
        if world.run.population.test.is_some() {
            let client = EVALUATOR.parse().expect("a name");
            let joined = Event::Joined { client, role: Role::Evaluator, holding: None, weight: 0 };
            world.happen(Happening::Coordinator(joined), Duration::ZERO);
        }
        Ok(world)
    }

    fn happen(&mut self, happening: Happening, after: Duration) {
        let rank = match &happening {
            Happening::Done(_, Ticket::Evaluate { .. }) => Rank::Measured,
            Happening::Client(..) | Happening::Coordinator(_) | Happening::Done(..) => Rank::Usual,
        };
        self.happenings.insert((self.now + after, rank, self.scheduled), happening);
        self.scheduled += 1;
    }

    fn play(&mut self, stop: &AtomicBool) -> Result<Ended, Error> {
        for effect in std::mem::take(&mut self.effects) {
            self.perform(effect)?;
        }
        let clients = self.run.population.clients();
        let (strategy, digest) = (&self.run.strategy, self.model.digest());
        let first = self.recorder.run(self.run.id, strategy, self.run.config, digest, clients, "sim");
        self.publish(&first)?;
        let mut stop_asked = false;
        while self.ended.is_none() {
            if stop.load(Ordering::Relaxed) && !stop_asked {
                stop_asked = true;
                self.step(Event::StopAsked)?;
                continue;
            }
            let next = self.happenings.keys().next().map(|(time, ..)| *time);
            match (next, self.machine.wake_at()) {
                (Some(at), wake) if wake.is_none_or(|wake| at <= wake) => {
                    let ((at, ..), happening) = self.happenings.pop_first().expect("it was just looked at");
                    self.now = at;
                    self.play_one(happening)?;
                }
                (_, Some(wake)) => {
                    self.now = wake;
                    self.step(Event::Wake)?;
                }
                // Nothing can ever happen again: too few clients for a round.
                (_, None) => self.step(Event::StopAsked)?,
            }
        }
        self.finish()
    }

    fn play_one(&mut self, happening: Happening) -> Result<(), Error> {
        match happening {
            Happening::Coordinator(event) => {
                self.look(&event);
                self.step(event)
            }
            Happening::Client(client, event) => {
                self.client(&client, event);
                Ok(())
            }
            Happening::Done(client, ticket) => {
                self.done(&client, ticket);
                Ok(())
            }
        }
    }

    /// Takes what travels with an event: results are merged before the machine learns of them.
    fn look(&mut self, event: &Event) {
        let Event::Evaluated { client, ticket: ticket @ Ticket::Evaluate { version } } = event else { return };
        let results = self.devices.get_mut(client).and_then(|device| device.results.take());
        if let Some(results) = results {
            if let Err(reason) = self.recorder.measured(*version, client, &results) {
                drop(self.publish(&Recorder::notice(Some(client.clone()), reason)));
            }
            if self.recorder.reaches_target(*version) {
                self.happen(Happening::Coordinator(Event::TargetReached), Duration::ZERO);
            }
            self.happen(Happening::Client(client.clone(), client::Event::Reported { ticket: *ticket }), Duration::ZERO);
        }
    }

    // ---- the coordinator ----

    fn step(&mut self, event: Event) -> Result<(), Error> {
        let mut effects = Vec::new();
        self.machine.step(self.now, event, &mut effects);
        for effect in effects {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), Error> {
        let message = self.link.message();
        match effect {
            Effect::Append { sequence, row } => {
                self.append(row)?;
                self.happen(Happening::Coordinator(Event::Appended { sequence }), Duration::ZERO);
            }
            Effect::Cancel { client, ticket, .. } => {
                self.happen(Happening::Client(client, client::Event::Cancelled { ticket }), message);
            }
            Effect::Close { ticket } => {
                self.measured();
                self.happen(Happening::Coordinator(Event::Closed { ticket }), Duration::ZERO);
            }
            Effect::Commit { version, .. } => self.commit(version)?,
            Effect::Discard { client, ticket, .. } => {
                self.staged.remove(&(ticket, client.clone()));
                self.happen(Happening::Client(client, client::Event::Refused { ticket }), message);
            }
            Effect::Drop { ticket } => {
                self.collected = None;
                self.staged.retain(|(staged, _), _| *staged != ticket);
            }
            Effect::Fold { client, ticket, weight, .. } => self.fold(client, ticket, weight)?,
            Effect::Goodbye { .. } => {}
            Effect::Offer { client, ticket, slot, version, left } => self.offer(client, ticket, slot, version, left),
            Effect::Publish(report) => self.report(report)?,
            Effect::Receipt { client, ticket, digest } => {
                self.happen(Happening::Client(client, client::Event::Received { ticket, digest }), message);
            }
            Effect::Stop { reason } => self.ended = Some(reason),
        }
        Ok(())
    }

    fn append(&mut self, row: Row) -> Result<(), Error> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let is_whole = row.ends_round() || matches!(row, Row::RunCreated { .. });
        let brings = match (&row, self.retained) {
            (Row::ModelCommitted { .. } | Row::RunCreated { .. }, Some(retained)) => Brings::Version(retained),
            _ => Brings::Nothing,
        };
        self.rows.push(Item { recorded: Recorded { at: self.now, row }, wall_ms: 0, brings });
        if is_whole {
            journal.commit(std::mem::take(&mut self.rows), self.now)?;
        }
        Ok(())
    }

    /// Asks for all measuring that is due by now: the next version is built after the last one was measured.
    fn measured(&mut self) {
        let later = self.happenings.split_off(&(self.now, Rank::Measured, 0));
        for (place, happening) in later {
            match happening {
                Happening::Done(client, ticket) if place.0 == self.now && place.1 == Rank::Measured => {
                    self.done(&client, ticket);
                }
                other => drop(self.happenings.insert(place, other)),
            }
        }
    }

    fn offer(&mut self, client: ClientId, ticket: Ticket, slot: Slot, version: Version, left: Duration) {
        if matches!(ticket, Ticket::Train { .. }) && slot == Slot(0) {
            self.round_began = (self.clock)();
        }
        if self.link.vanishes(&client, ticket) {
            return;
        }
        let Some(model) = self.digests.get(&version).copied() else { return };
        let bytes = self.model.layout().bytes() as u64;
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let offer = Offer { ticket, slot, version, model, bytes, left_ms };
        self.happen(Happening::Client(client, client::Event::Offered(offer)), self.link.message());
    }

    fn fold(&mut self, client: ClientId, ticket: Ticket, weight: u64) -> Result<(), Error> {
        let ((_, client), update) = self.staged.remove_entry(&(ticket, client)).expect("what is folded was staged");
        let weight = Weight::new(weight).map_err(aggregate::Error::from)?;
        let layout = self.model.layout();
        let mut collected = match self.collected.take() {
            Some(collected) => collected,
            None => Collected::new(&self.run.strategy.aggregator, layout, self.threads)?,
        };
        collected.take(client, update, weight)?;
        collected.catch_up()?;
        self.collected = Some(collected);
        Ok(())
    }

    fn commit(&mut self, version: Version) -> Result<(), Error> {
        let oldest = self.machine.version();
        self.models = self.models.split_off(&oldest);
        self.digests = self.digests.split_off(&oldest);
        self.held.retain(|_, (version, _)| *version >= oldest);
        let mut collected = self.collected.take().expect("a commit has a quorum of at least one");
        let step = |aggregate: &dyn Aggregate| self.optimizer.step(&self.model, aggregate, self.threads);
        let digest;
        (self.model, digest) = collected.combined(&self.run.strategy.aggregator, step)?;
        self.retained = Some(self.run.store.keep(version, &self.model, &self.optimizer.state())?);
        self.models.insert(version, self.model.clone());
        self.digests.insert(version, digest);
        self.took.insert(version, (self.clock)().saturating_sub(self.round_began));
        self.happen(Happening::Coordinator(Event::Committed { version, digest }), Duration::ZERO);
        Ok(())
    }

    fn report(&mut self, report: Report) -> Result<(), Error> {
        let is_round = matches!(report, Report::Finished { .. });
        for mut line in self.recorder.report(report) {
            if let Line::Round(round) = &mut line
                && let Some(took) = self.took.remove(&round.version)
                && self.run.settings.is_ideal()
            {
                round.seconds = took.as_secs_f64();
            }
            self.publish(&line)?;
        }
        if is_round && let Some(version) = self.recorder.best() {
            self.run.store.mark_best(version)?;
        }
        Ok(())
    }

    fn publish(&mut self, line: &Line) -> Result<(), Error> {
        self.run.store.event(line)?;
        (self.tell)(line);
        Ok(())
    }

    // ---- the clients ----

    fn client(&mut self, client: &ClientId, event: client::Event) {
        let mut effects = Vec::new();
        let device = self.devices.entry(client.clone()).or_insert_with(|| {
            let mut device = Device::default();
            device.machine.step(client::Event::Connected, &mut effects);
            device
        });
        device.machine.step(event, &mut effects);
        for effect in effects {
            self.act(client, effect);
        }
        if self.devices.get(client).is_some_and(|device| device.machine.phase().is_none()) {
            self.devices.remove(client);
        }
    }

    fn act(&mut self, client: &ClientId, effect: client::Effect) {
        let message = self.link.message();
        let who = client.clone();
        match effect {
            client::Effect::Accept { ticket } => {
                self.happen(Happening::Coordinator(Event::TaskAccepted { client: who, ticket }), message);
            }
            client::Effect::Decline { ticket, reason } => {
                self.happen(Happening::Coordinator(Event::TaskDeclined { client: who, ticket, reason }), message);
            }
            client::Effect::Fetch(offer) => {
                let after = self.fetch(client, &offer);
                self.happen(Happening::Client(who, client::Event::Fetched { ticket: offer.ticket }), after);
            }
            client::Effect::Work(offer) => self.work(client, &offer),
            client::Effect::Put { ticket } => self.put(client, ticket),
            client::Effect::Report { ticket } => {
                self.happen(Happening::Coordinator(Event::Evaluated { client: who, ticket }), message);
            }
            // A device is forgotten with its machine; what the pool still computes is nobody's.
            client::Effect::Forget { .. } | client::Effect::Stop { .. } => {}
        }
    }

    /// How long the model of `offer` takes to come; one that is there already does not come again.
    fn fetch(&mut self, client: &ClientId, offer: &Offer) -> Duration {
        let now = self.now;
        if self.held.get(client).is_some_and(|&(version, since)| version == offer.version && since <= now) {
            return Duration::ZERO;
        }
        self.recorder.sent(offer.bytes);
        let after = self.link.transfer(self.model.layout().bytes());
        self.held.insert(client.clone(), (offer.version, now + after));
        after
    }

    fn work(&mut self, client: &ClientId, offer: &Offer) {
        let Some(model) = self.models.get(&offer.version).cloned() else { return };
        let (run, plan) = (self.run, &self.run.plan);
        let mut keys = Vec::new();
        let mut after = Duration::ZERO;
        let mut measure = |pool: &mut Pool<'a>, on, dataset: &'a Dataset, indices: &[u32]| {
            // In pieces, so that all workers share a large set; merged they are what one device would have measured.
            for piece in indices.chunks(PIECE) {
                let work = Measure { model: model.clone(), dataset, indices: piece.to_vec() };
                keys.push((on, pool.measure(work)));
            }
        };
        if let (EVALUATOR, Some(test)) = (client.as_str(), &run.population.test) {
            let all: Vec<u32> = (0..u32::try_from(test.len()).expect("data sets are below 2^32")).collect();
            measure(&mut self.pool, On::Central, test, &all);
        } else {
            let part = run.population.part(client).unwrap_or_default();
            let split = holdout::split(part, plan.holdout, plan.seed, client);
            match offer.ticket {
                Ticket::Train { round, .. } => {
                    after = self.link.training(steps(plan, split.train.len()));
                    let (client, dataset) = (client.clone(), &*run.population.train);
                    let (due, indices) = (self.now + after, split.train);
                    let work = Train { due, round, client, model: model.clone(), dataset, indices };
                    keys.push((On::Update, self.pool.train(work)));
                }
                Ticket::Evaluate { .. } => {
                    if plan.evaluate_on.train {
                        measure(&mut self.pool, On::Train, &run.population.train, &split.train);
                    }
                    if plan.evaluate_on.local {
                        measure(&mut self.pool, On::Local, &run.population.train, &split.held_out);
                    }
                }
            }
        }
        let device = self.devices.get_mut(client).expect("a device that works has a machine");
        device.keys.insert(offer.ticket, keys);
        self.happen(Happening::Done(client.clone(), offer.ticket), after);
    }

    /// The virtual end of a piece of work: waits for its real one.
    fn done(&mut self, client: &ClientId, ticket: Ticket) {
        let Some(keys) = self.devices.get_mut(client).and_then(|device| device.keys.remove(&ticket)) else { return };
        let mut results = Results::default();
        let mut failure = None;
        for (on, key) in keys {
            match (on, self.pool.wait(key)) {
                (On::Update, Ok(Outcome::Trained(sealed))) => {
                    let device = self.devices.get_mut(client).expect("looked at above");
                    device.update = Some((ticket, sealed));
                }
                (On::Central, Ok(Outcome::Measured(metrics))) => {
                    failure = merge(&mut results.central, metrics).or(failure)
                }
                (On::Local, Ok(Outcome::Measured(metrics))) => failure = merge(&mut results.local, metrics).or(failure),
                (On::Train, Ok(Outcome::Measured(metrics))) => failure = merge(&mut results.train, metrics).or(failure),
                (_, Err(reason)) => failure = Some(reason),
                (_, Ok(_)) => unreachable!("an outcome is of the kind of its work"),
            }
        }
        let event = match failure {
            Some(reason) => client::Event::Failed { ticket, reason },
            None => client::Event::Finished { ticket, digest: self.digest_of(client, ticket) },
        };
        if let (Ticket::Evaluate { .. }, Some(device)) = (ticket, self.devices.get_mut(client)) {
            device.results = Some(results);
        }
        self.client(client, event);
    }

    /// The digest of a finished update.
    fn digest_of(&self, client: &ClientId, ticket: Ticket) -> Option<Digest> {
        let (held, sealed) = self.devices.get(client)?.update.as_ref()?;
        (*held == ticket).then_some(sealed.digest)
    }

    fn put(&mut self, client: &ClientId, ticket: Ticket) {
        let Some(device) = self.devices.get_mut(client) else { return };
        let Some((_, sealed)) = device.update.take().filter(|(held, _)| *held == ticket) else { return };
        let Sealed { update, examples, digest, norm } = *sealed;
        let who = client.clone();
        let after = self.link.transfer(update.bytes().len());
        let strategy = &self.run.strategy;
        let weight = norm.and_then(|norm| {
            strategy.stages.open(norm).map_err(|refused| refused.to_string())?;
            strategy.aggregator.weight(examples).map_err(|error| error.to_string())
        });
        let event = match weight {
            Ok(weight) => {
                self.recorder.received(update.bytes().len() as u64);
                self.staged.insert((ticket, client.clone()), update);
                Event::Staged { client: who, ticket, weight: weight.get(), digest }
            }
            Err(reason) => Event::Refused { client: who, ticket, reason },
        };
        self.happen(Happening::Coordinator(event), after);
    }

    // ---- the end ----

    fn finish(&mut self) -> Result<Ended, Error> {
        let reason = self.ended.take().expect("the loop ended because of it");
        let seconds = (self.clock)().as_secs_f64();
        let path = self.run.store.model_path().map(|path| path.display().to_string());
        let line = self.recorder.done(&reason, seconds, self.model.digest(), self.model.norm(), path);
        self.publish(&line)?;
        Ok(Ended { reason, model: self.model.clone(), central_accuracy: self.recorder.central_accuracy() })
    }
}

/// Adds a piece to what was measured; says what is wrong if they do not fit.
fn merge(all: &mut Option<Metrics>, piece: Metrics) -> Option<String> {
    match all {
        Some(all) => all.merge(&piece).err().map(|error| error.to_string()),
        None => {
            *all = Some(piece);
            None
        }
    }
}

/// How many steps a client of so many examples takes.
fn steps(plan: &Plan, examples: usize) -> u64 {
    let batches = match plan.train.batch {
        Batch::All => 1,
        Batch::Size(size) => examples.div_ceil(size) as u64,
    };
    match plan.train.length {
        Length::Epochs(epochs) => epochs * batches,
        Length::Steps(steps) => steps,
    }
}
