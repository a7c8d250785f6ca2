//! The event loop: one virtual clock, one queue of happenings, the coordinator's machine and the clients' machines.

mod coordinator;
mod devices;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tributary_client::machine as client;
use tributary_common::Digest;
use tributary_common::event::Event as Line;
use tributary_common::id::{ClientId, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::parameters::Parameters;
use tributary_common::time::Time;
use tributary_coordinator::Threads;
use tributary_coordinator::aggregate::Collected;
use tributary_coordinator::optimize::Optimizer;
use tributary_coordinator::record::Recorder;
use tributary_coordinator::round::{Effect, Event, Machine, Reason, Roster, Row};
use tributary_coordinator::store::Journal;
use tributary_coordinator::store::journal::{Item, Retained};

use crate::link::Link;
use crate::run::{Ended, Error, Run};
use crate::workers::Pool;
use devices::{Device, EVALUATOR};

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

pub(crate) struct World<'a> {
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
    pub(crate) fn new(
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

    pub(crate) fn play(&mut self, stop: &AtomicBool) -> Result<Ended, Error> {
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

    fn finish(&mut self) -> Result<Ended, Error> {
        let reason = self.ended.take().expect("the loop ended because of it");
        let seconds = (self.clock)().as_secs_f64();
        let path = self.run.store.model_path().map(|path| path.display().to_string());
        let line = self.recorder.done(&reason, seconds, self.model.digest(), self.model.norm(), path);
        self.publish(&line)?;
        Ok(Ended { reason, model: self.model.clone(), central_accuracy: self.recorder.central_accuracy() })
    }
}
