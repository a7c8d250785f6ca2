//! Random scripts: clients that join, leave, repeat, reorder, decline, are late or lie, a store that is slow, and restarts.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tributary_common::Digest;
use tributary_common::id::{ClientId, Round, Seed, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::rng::{self, Purpose, Stream};
use tributary_common::time::Time;

use super::super::{Effect, Evaluation, Event, Machine, Quorum, Reason, Report, Roster, Settings, WeightShare};
use super::checker::Checker;
use super::{client, created, settings};

const CLIENTS: u64 = 5;
const STEPS_MAX: u64 = 1200;
const SCRIPTS: u64 = 10_000;

/// The shell and the world of one machine, all of it drawn from one seed.
struct World {
    stream: Stream,
    settings: Settings,
    machine: Machine,
    checker: Checker,
    now: Time,
    /// What the shell still owes the machine; the store's answers stay in order.
    appends: VecDeque<u64>,
    answers: Vec<Event>,
    tickets: Vec<Ticket>,
    /// Offers that nobody answered yet; only fair clients look here.
    offers: VecDeque<(ClientId, Ticket)>,
    /// Versions whose reports are out: they outlive a restart.
    told: BTreeSet<Version>,
    n_told_again: u64,
    n_commits: u64,
    n_restarts: u64,
    n_refolded: u64,
    n_rollbacks: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut stream = rng::stream(Seed(seed), Round(0), None, Purpose::Faults);
        let quorum = usize::try_from(1 + stream.below(4)).unwrap();
        let mut settings = settings(1 + stream.below(4), usize::try_from(1 + stream.below(CLIENTS)).unwrap(), quorum);
        settings.quorum = Quorum::Number(quorum);
        if stream.below(2) == 0 {
            let (clients, central) = (stream.below(2) == 0, stream.below(2) == 0);
            settings.evaluate =
                Some(Evaluation { every: 1 + stream.below(2), clients, central, deadline: Duration::from_secs(3) });
            settings.has_target = stream.below(4) == 0;
        }
        settings.max_weight_share = WeightShare::new(stream.uniform()).filter(|_| stream.below(2) == 0);
        let mut effects = Vec::new();
        let machine = Machine::new(settings.clone(), Roster::empty(), created(), &mut effects);
        let mut world = Self {
            stream,
            settings,
            machine,
            checker: Checker::new(quorum),
            now: Time::ZERO,
            appends: VecDeque::new(),
            answers: Vec::new(),
            tickets: Vec::new(),
            offers: VecDeque::new(),
            told: BTreeSet::new(),
            n_told_again: 0,
            n_commits: 0,
            n_restarts: 0,
            n_refolded: 0,
            n_rollbacks: 0,
        };
        world.perform(&effects);
        world
    }

    fn step(&mut self, event: Event) {
        self.checker.sees_event(&event);
        let mut effects = Vec::new();
        self.machine.step(self.now, event, &mut effects);
        self.machine.assert_invariants();
        self.machine.assert_woken(self.now);
        self.perform(&effects);
    }

    fn perform(&mut self, effects: &[Effect]) {
        for effect in effects {
            self.checker.sees(self.now, effect);
            match effect {
                Effect::Append { sequence, .. } => self.appends.push_back(*sequence),
                Effect::Close { ticket } => self.answers.push(Event::Closed { ticket: *ticket }),
                Effect::Commit { version, .. } => {
                    self.n_commits += 1;
                    self.answers.push(Event::Committed { version: *version, digest: Digest([3; 32]) });
                }
                Effect::Offer { client, ticket, .. } => {
                    self.tickets.push(*ticket);
                    self.offers.push_back((client.clone(), *ticket));
                }
                Effect::Publish(Report::Finished { version, .. }) => {
                    assert!(self.told.insert(*version), "version {version} is told twice");
                }
                _ => {}
            }
        }
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        let n = items.len() as u64;
        (n > 0).then(|| items[usize::try_from(self.stream.below(n)).unwrap()].clone())
    }

    fn someone(&mut self) -> ClientId {
        client(usize::try_from(self.stream.below(CLIENTS)).unwrap())
    }

    /// Mostly a ticket that was offered lately, sometimes an old one.
    fn some_ticket(&mut self) -> Option<Ticket> {
        let recent = self.tickets.len().saturating_sub(if self.stream.below(5) == 0 { 1000 } else { 6 });
        let tickets = self.tickets[recent..].to_vec();
        self.pick(&tickets)
    }

    fn restart(&mut self) {
        self.n_restarts += 1;
        let more = usize::try_from(self.stream.below(3)).unwrap();
        self.checker.restart(more);
        if self.stream.below(8) == 0 {
            self.n_rollbacks += 1;
            let to = Version(self.stream.below(self.checker.version().0 + 1));
            self.checker.roll_back(self.now, to);
            self.told.retain(|told| *told <= to);
        }
        let rows = self.checker.rows();
        let mut effects = Vec::new();
        self.machine = Machine::resume(self.settings.clone(), Roster::empty(), rows, self.now, &mut effects);
        let last = self.machine.version();
        // Of the two last versions the older one is not always kept; the initial one is never measured.
        let is_older_kept = self.stream.below(2) == 0;
        let served = (last.0.saturating_sub(u64::from(is_older_kept))..=last.0).map(Version).collect();
        self.machine.tell_again(self.now, rows, &self.told, &served, &mut effects);
        self.n_told_again += (1..=last.0).filter(|version| !self.told.contains(&Version(*version))).count() as u64;
        self.n_refolded += effects.iter().filter(|effect| matches!(effect, Effect::Fold { .. })).count() as u64;
        self.appends.clear();
        self.answers.clear();
        self.offers.clear();
        self.perform(&effects);
        self.step(Event::Wake);
    }

    fn random_event(&mut self) {
        let client = self.someone();
        let ticket = self.some_ticket();
        match (self.stream.below(100), ticket) {
            (0..12, ticket) => {
                let holding = ticket.filter(|ticket| matches!(ticket, Ticket::Train { .. }));
                let holding = if self.stream.below(3) == 0 { holding } else { None };
                let weight = self.stream.below(1000);
                self.step(Event::Joined { client, role: Role::Client, holding, weight });
            }
            (12..14, _) => {
                let client = "judge".parse().unwrap();
                self.step(Event::Joined { client, role: Role::Evaluator, holding: None, weight: 1 });
            }
            (14..19, _) => self.step(Event::Left { client }),
            (19..24, Some(ticket)) => self.step(Event::TaskAccepted { client, ticket }),
            (24..26, Some(ticket)) => self.step(Event::Progress { client, ticket }),
            (26..28, Some(ticket)) => self.step(Event::TaskDeclined { client, ticket, reason: "no".into() }),
            (28..30, Some(ticket)) => self.step(Event::Refused { client, ticket, reason: "bad".into() }),
            (30..52, Some(ticket)) => {
                let weight = if self.stream.below(20) == 0 { 0 } else { 1 + self.stream.below(1 << 32) };
                let digest = Digest([u8::from(self.stream.below(8) == 0); 32]);
                self.step(Event::Staged { client, ticket, weight, digest });
            }
            (52..58, Some(ticket)) => self.step(Event::Evaluated { client, ticket }),
            (58..75, _) => {
                if let Some(sequence) = self.appends.pop_front() {
                    self.step(Event::Appended { sequence });
                }
            }
            (75..90, _) => {
                let answers = self.answers.clone();
                if let Some(answer) = self.pick(&answers) {
                    self.step(answer.clone());
                    // Sometimes an answer comes twice.
                    if self.stream.below(5) > 0 {
                        self.answers.retain(|kept| *kept != answer);
                    }
                }
            }
            (90, _) => self.step(Event::Revoked { client }),
            (91..96, _) => {
                self.now = match self.machine.wake_at().filter(|_| self.stream.below(8) == 0) {
                    Some(at) => at,
                    None => self.now + Duration::from_millis(self.stream.below(400)),
                };
                self.step(Event::Wake);
            }
            (96, _) if self.stream.below(40) == 0 => self.step(Event::TargetReached),
            (97, _) if self.stream.below(2) == 0 => self.restart(),
            (98, Some(ticket)) => self.step(Event::Postponed { client, ticket, reason: "full".into() }),
            (99, _) if self.stream.below(20) == 0 => self.step(Event::StopAsked),
            _ => self.step(Event::Closed { ticket: Ticket::Evaluate { version: Version(0) } }),
        }
    }
}

/// The most steps that a fair world needs to end a run: a few for each client, evaluation, attempt and round.
const FAIR_STEPS_MAX: usize = 1000;

impl World {
    /// From here on everybody is here, answers, and the store is quick: whatever happened before, the run must end.
    fn become_fair(&mut self) {
        self.offers.clear();
        self.step(Event::Joined { client: "judge".parse().unwrap(), role: Role::Evaluator, holding: None, weight: 1 });
        for index in 0..usize::try_from(CLIENTS).unwrap() {
            self.step(Event::Joined { client: client(index), role: Role::Client, holding: None, weight: 1 });
        }
        for _ in 0..FAIR_STEPS_MAX {
            if let Some(reason) = self.machine.done() {
                let all = (1..=self.machine.version().0).map(Version);
                let has_told_all = all.eq(self.told.iter().copied());
                assert!(has_told_all || *reason == Reason::Suspended, "versions that are told: {:?}", self.told);
                return;
            }
            self.fair_event();
        }
        panic!("a fair world does not end the run: {:?}", self.machine.phase());
    }

    fn fair_event(&mut self) {
        if let Some(sequence) = self.appends.pop_front() {
            self.step(Event::Appended { sequence });
        } else if let Some(answer) = self.answers.pop() {
            self.step(answer);
        } else if let Some((client, ticket)) = self.offers.pop_front() {
            self.step(match ticket {
                Ticket::Evaluate { .. } => Event::Evaluated { client, ticket },
                Ticket::Train { .. } => Event::Staged { client, ticket, weight: 7, digest: Digest([5; 32]) },
            });
        } else {
            self.now = self.machine.wake_at().expect("the machine waits for nobody and for no time: it is stuck");
            self.step(Event::Wake);
        }
    }
}

fn run(seed: u64) -> [u64; 5] {
    let mut world = World::new(seed);
    let n_steps = world.stream.below(STEPS_MAX);
    for _ in 0..n_steps {
        if world.machine.done().is_some() {
            break;
        }
        world.random_event();
    }
    let totals = [world.n_commits, world.n_restarts, world.n_refolded, world.n_rollbacks, world.n_told_again];
    world.become_fair();
    totals
}

/// What goes wrong without it: an update counts twice, or never, after some order of events that nobody thought of.
#[test]
fn random_scripts_leave_the_invariants_intact() {
    #[expect(clippy::disallowed_methods, reason = "a seed from outside replays one script")]
    if let Ok(seed) = std::env::var("TRIBUTARY_SEED") {
        run(seed.parse().expect("TRIBUTARY_SEED is a number"));
        return;
    }
    let mut totals = [0; 5];
    for seed in 0..SCRIPTS {
        let counts = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| {
            panic!("script {seed} broke an invariant; replay it with TRIBUTARY_SEED={seed}");
        });
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    // A generator that never gets anywhere would prove nothing.
    assert!(
        totals.iter().all(|total| *total > SCRIPTS / 10),
        "commits, restarts, updates folded again, rollbacks, reports told again: {totals:?}"
    );
}
