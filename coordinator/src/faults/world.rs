//! One simulated run from one seed: a queue of happenings on a virtual clock, in which nothing is left to chance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tributary_common::id::{ClientId, Round, Seed, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::parameters::{Layout, Parameters};
use tributary_common::rng::{self, Purpose, Stream};
use tributary_common::sum::BITS_DEFAULT;
use tributary_common::time::Time;

use super::device::Device;
use super::disk::Disk;
use super::effort::Effort;
use super::fault::{Fault, Tally};
use super::message::{ToClient, ToCoordinator};
use super::network::{Direction, Link};
use super::oracle::Oracle;
use super::process::Process;
use super::threads::Answer;
use super::weather::Weather;
use super::work::{self, CLIENTS_MAX};
use crate::aggregate::{Aggregator, Rule, Weights};
use crate::round::{CohortSize, Evaluation, Event, Quorum, Settings, WEIGHT_MAX, WeightShare};
use crate::select::Selector;

/// The deadline of a round.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// How long after the last fault a run may take to its end: some deadlines for each of its few rounds.
const CALM_MAX: Duration = Duration::from_secs(60 * 40);

/// Happenings of one run at most: far above the longest.
const HAPPENINGS_MAX: u64 = 1_000_000;

/// Something that happens at a time. What belongs to a process carries the number of it.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Answered { number: u64, answer: Answer },
    Calm,
    Connect { index: usize },
    Down { index: usize, connection: u64, message: ToClient },
    Due { index: usize, connection: u64, ticket: Ticket },
    Gone { index: usize, connection: u64 },
    Halfway { index: usize, life: u32, ticket: Ticket },
    Kill { number: u64 },
    Lose { index: usize, connection: u64 },
    Revive { index: usize },
    Ring { number: u64 },
    Start,
    Strike,
    Unanswered { index: usize, connection: u64 },
    Unheard { index: usize, connection: u64 },
    Up { index: usize, connection: u64, message: Box<ToCoordinator> },
    Worked { index: usize, life: u32, ticket: Ticket },
    Written { number: u64, is_failed: bool },
}

/// The world of one run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) stream: Stream,
    weather: Weather,
    pub(super) tally: Tally,
    /// What happened, if somebody wants to read it.
    trace: Option<Vec<String>>,
    pub(super) now: Time,
    queue: BTreeMap<(Time, u64), Happening>,
    scheduled: u64,
    pub(super) settings: Settings,
    pub(super) aggregator: Aggregator,
    pub(super) layout: Arc<Layout>,
    pub(super) initial: Parameters,
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
    pub(super) processes: u64,
    /// The run's clock when the last process ended.
    pub(super) clock_before: Option<Time>,
    /// For how long earlier processes served.
    pub(super) served_before: Duration,
    pub(super) devices: Vec<Device>,
    pub(super) links: Vec<Link>,
    pub(super) connections: u64,
    pub(super) oracle: Oracle,
    pub(super) effort: Effort,
    /// Versions whose reports are out: lines of a file, which outlive a process.
    pub(super) told: BTreeSet<Version>,
    /// Everything that was offered.
    pub(super) tickets: Vec<Ticket>,
    is_calm: bool,
    pub(super) is_over: bool,
}

impl World {
    pub(super) fn new(seed: u64, disk: Disk, is_traced: bool) -> Self {
        let mut stream = rng::stream(Seed(seed), Round(0), None, Purpose::Faults);
        let weather = Weather::draw(&mut stream);
        let n_clients = 2 + pick(&mut stream, CLIENTS_MAX - 1);
        let settings = draw_settings(&mut stream, seed, n_clients);
        let layout = work::layout();
        let initial = Parameters::zeros(Arc::clone(&layout));
        let client = |index| Device::new(ClientId::simulated(index, CLIENTS_MAX), Role::Client);
        let mut devices: Vec<Device> = (0..n_clients).map(client).collect();
        if settings.evaluate.is_some_and(|evaluate| evaluate.central) {
            devices.push(Device::new("judge".parse().expect("a name"), Role::Evaluator));
        }
        let oracle = Oracle::new(&settings, initial.clone());
        let mut world = Self {
            seed,
            stream,
            weather,
            tally: Tally::default(),
            trace: is_traced.then(Vec::new),
            now: Time::ZERO,
            queue: BTreeMap::new(),
            scheduled: 0,
            settings,
            aggregator: Aggregator {
                rule: Rule::Mean(Weights::Examples),
                bits: BITS_DEFAULT,
                max_examples: WEIGHT_MAX,
            },
            layout,
            initial,
            disk,
            process: None,
            processes: 0,
            clock_before: None,
            served_before: Duration::ZERO,
            links: vec![Link::default(); devices.len()],
            devices,
            connections: 0,
            oracle,
            effort: Effort::default(),
            told: BTreeSet::new(),
            tickets: Vec::new(),
            is_calm: false,
            is_over: false,
        };
        world.schedule_at(Time::ZERO, Happening::Start);
        for index in 0..world.devices.len() {
            let after = world.between(0, 5_000);
            world.schedule(after, Happening::Connect { index });
        }
        world.schedule_at(world.weather.calm_at, Happening::Calm);
        world.schedule(world.weather.strike_every, Happening::Strike);
        world
    }

    /// Plays the run to its end, which must come.
    pub(super) fn play(&mut self) {
        while !self.is_over {
            let ((at, _), happening) = self.queue.pop_first().expect("a run that is not over has something to come");
            let latest = self.weather.calm_at + CALM_MAX;
            assert!(at <= latest, "the run does not end after the faults: {:?}", self.process);
            assert!(self.scheduled < HAPPENINGS_MAX, "the run does not end: {:?}", self.process);
            self.now = at;
            self.happen(happening);
        }
        self.tally.bounded = self.oracle.end();
        assert_eq!(self.told.len() as u64, self.settings.rounds, "every version was told: {:?}", self.told);
        self.disk.read(None).expect("the rows of a finished run are whole");
    }

    /// What was counted, and what happened.
    pub(super) fn into_parts(self) -> (Tally, Vec<String>) {
        (self.tally, self.trace.unwrap_or_default())
    }

    /// The end of what happened so far.
    pub(super) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Answered { number, answer } => self.answered(number, answer),
            Happening::Calm => self.calm(),
            Happening::Connect { index } => self.connect(index),
            Happening::Down { index, connection, message } => self.hear_down(index, connection, message),
            Happening::Due { index, connection, ticket } => self.due(index, connection, ticket),
            Happening::Gone { index, connection } => self.gone(index, connection),
            Happening::Halfway { index, life, ticket } => self.halfway(index, life, ticket),
            Happening::Kill { number } => self.kill_process(number),
            Happening::Lose { index, connection } => self.lose(index, connection),
            Happening::Revive { index } => self.revive(index),
            Happening::Ring { number } => self.ring(number),
            Happening::Start => self.start(),
            Happening::Strike => self.strike(),
            Happening::Unheard { index, connection } => self.unheard(index, connection),
            Happening::Unanswered { index, connection } => self.unanswered(index, connection),
            Happening::Up { index, connection, message } => self.hear_up(index, connection, *message),
            Happening::Worked { index, life, ticket } => self.worked(index, life, ticket),
            Happening::Written { number, is_failed } => self.written(number, is_failed),
        }
    }

    /// From here on nothing goes wrong.
    fn calm(&mut self) {
        self.note(|| "the faults stop".to_owned());
        self.is_calm = true;
        self.links.iter_mut().for_each(|link| link.cut_until = [Time::ZERO; 2]);
        self.devices.iter_mut().for_each(|device| device.barred_until = Time::ZERO);
    }

    /// One of the faults that need no occasion.
    fn strike(&mut self) {
        let kinds = self.weather.strikes();
        if self.is_calm || kinds.is_empty() {
            return;
        }
        let fault = kinds[pick(&mut self.stream, kinds.len())];
        let index = pick(&mut self.stream, self.devices.len());
        self.tally.count(fault);
        self.note(|| format!("{fault:?} strikes, client {index} if any"));
        match fault {
            Fault::ClientKilled => self.kill_device(index),
            Fault::ClockJump => self.jump(),
            Fault::CoordinatorKilled => self.kill(),
            Fault::Partitioned => self.cut(index, &[Direction::Down, Direction::Up]),
            Fault::PartitionedOneWay if self.stream.below(2) == 0 => self.cut(index, &[Direction::Down]),
            Fault::PartitionedOneWay => self.cut(index, &[Direction::Up]),
            Fault::Revoked => self.revoke(index),
            Fault::Stale => self.say_something_stale(index),
            Fault::Stopped => {
                if let Some(process) = &mut self.process {
                    process.events.push_back(Event::StopAsked);
                    self.settle();
                }
            }
            other => unreachable!("{other:?} strikes at occasions only"),
        }
        let mean = u64::try_from(self.weather.strike_every.as_millis()).expect("some seconds");
        let next = self.between(0, 2 * mean);
        self.schedule(next, Happening::Strike);
    }

    /// Whether `fault` strikes at this occasion.
    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        let chance = self.weather.chance(fault);
        if self.is_calm || chance == 0 || self.stream.below(10_000) >= chance {
            return false;
        }
        self.tally.count(fault);
        self.note(|| format!("{fault:?} strikes"));
        true
    }

    pub(super) fn schedule(&mut self, after: Duration, happening: Happening) {
        self.schedule_at(self.now + after, happening);
    }

    pub(super) fn schedule_at(&mut self, at: Time, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), happening);
    }

    /// A duration between two numbers of milliseconds, in steps of a microsecond.
    pub(super) fn between(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_micros(low_ms * 1000 + self.stream.below((high_ms - low_ms).max(1) * 1000))
    }

    /// The machine's clock for people: it may say anything, and nothing may depend on it.
    pub(super) fn wall_ms(&mut self) -> u64 {
        if self.is_calm { self.now.0 / 1_000_000 } else { self.stream.next_u64() >> 20 }
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.6} {}", self.now.seconds(), line()));
        }
    }
}

fn draw_settings(stream: &mut Stream, seed: u64, n_clients: usize) -> Settings {
    let quorum = match stream.below(2) {
        0 => Quorum::Number(1 + pick(stream, n_clients)),
        _ => Quorum::Share(0.3 + stream.uniform() * 0.6),
    };
    let cohort = match stream.below(3) {
        0 => CohortSize::All,
        1 => CohortSize::Number(quorum.of(n_clients).max(1 + pick(stream, n_clients))),
        _ => CohortSize::Share(0.5 + stream.uniform() * 0.5),
    };
    // A share of the clients must be able to reach the quorum.
    let quorum =
        if quorum.of(n_clients) > cohort.of(n_clients) { Quorum::Number(cohort.of(n_clients)) } else { quorum };
    let evaluate = (stream.below(2) == 0).then(|| Evaluation {
        every: 1 + stream.below(2),
        clients: stream.below(2) == 0,
        central: stream.below(2) == 0,
        deadline: Duration::from_secs(30),
    });
    Settings {
        seed: Seed(seed),
        rounds: 1 + stream.below(6),
        selector: Selector::Random,
        cohort,
        wait_for: 1 + pick(stream, n_clients),
        quorum,
        max_weight_share: draw_share(seed, cohort),
        deadline: DEADLINE,
        evaluate,
        has_target: false,
    }
}

/// The largest share of a client, in half of the runs; drawn by itself, so that it changes nothing but weights.
fn draw_share(seed: u64, cohort: CohortSize) -> Option<WeightShare> {
    let mut stream = rng::stream(Seed(seed), Round(1), None, Purpose::Faults);
    let share = WeightShare::new(stream.uniform()).filter(|_| stream.below(2) == 0);
    // As the run file: what a cohort of this size cannot keep is refused.
    share.filter(|share| !matches!(cohort, CohortSize::Number(size) if !share.suits(size)))
}

fn pick(stream: &mut Stream, count: usize) -> usize {
    usize::try_from(stream.below(count as u64)).expect("below a length")
}
