//! The coordinator's machine under any sequence of what peers do, with a store and a fold that answer, late or soon, and
//! with restarts.

use std::collections::VecDeque;
use std::time::Duration;

use tributary_common::Digest;
use tributary_common::id::{Attempt, ClientId, Round, RunId, Seed, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::time::Time;
use tributary_coordinator::round::{
    CohortSize, Effect, Evaluation, Event, Machine, Quorum, Recorded, Roster, Row, Settings,
};
use tributary_coordinator::select::Selector;

use super::Target;
use crate::Source;

pub(super) const TARGET: Target = Target {
    name: "coordinator_machine",
    help: "what members do, in any order",
    input_bytes_max: 4096,
    heap_bytes_max: 256 * 1024,
    // Rows of all rounds are kept here, to go on from.
    heap_bytes_per_byte: 512,
    run,
};

const CLIENTS: u8 = 4;

struct Shell {
    settings: Settings,
    machine: Machine,
    now: Time,
    /// All rows that were given out, and how many of them are durable.
    rows: Vec<Recorded>,
    durable: usize,
    answers: VecDeque<Event>,
}

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let settings = settings(&mut source);
    let mut effects = Vec::new();
    let row = Row::RunCreated { run: RunId([0; 16]), config: Digest([1; 32]), model: Digest([2; 32]) };
    let machine = Machine::new(settings.clone(), Roster::empty(), row, &mut effects);
    let mut shell =
        Shell { settings, machine, now: Time::ZERO, rows: Vec::new(), durable: 0, answers: VecDeque::new() };
    shell.perform(effects);
    while !source.is_empty() {
        shell.happens(&mut source);
    }
}

fn settings(source: &mut Source<'_>) -> Settings {
    let choice = source.byte();
    let evaluate = (choice & 1 == 1).then_some(Evaluation {
        every: 1 + u64::from(choice >> 1 & 1),
        clients: choice & 4 == 4,
        central: choice & 8 == 8,
        deadline: Duration::from_secs(3),
    });
    Settings {
        seed: Seed(u64::from(choice)),
        rounds: 3,
        selector: Selector::Random,
        cohort: CohortSize::All,
        wait_for: 1 + usize::from(choice >> 4 & 1),
        quorum: Quorum::Number(1 + usize::from(choice >> 5 & 1)),
        max_weight_share: None,
        deadline: Duration::from_secs(10),
        evaluate,
        has_target: choice >> 6 & 1 == 1,
    }
}

impl Shell {
    fn step(&mut self, event: Event) {
        let mut effects = Vec::new();
        let is_wake = event == Event::Wake;
        self.machine.step(self.now, event, &mut effects);
        self.machine.assert_invariants();
        if is_wake {
            self.machine.assert_woken(self.now);
        }
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Append { sequence, row } => {
                    assert_eq!(sequence, self.rows.len() as u64, "rows have numbers without gaps");
                    self.rows.push(Recorded { at: self.now, row });
                }
                Effect::Close { ticket } => self.answers.push_back(Event::Closed { ticket }),
                Effect::Commit { version, .. } => {
                    self.answers.push_back(Event::Committed { version, digest: Digest([3; 32]) });
                }
                Effect::Cancel { .. }
                | Effect::Discard { .. }
                | Effect::Drop { .. }
                | Effect::Fold { .. }
                | Effect::Goodbye { .. }
                | Effect::Offer { .. }
                | Effect::Publish(_)
                | Effect::Receipt { .. }
                | Effect::Stop { .. } => {}
            }
        }
    }

    fn restart(&mut self) {
        self.rows.truncate(self.durable);
        self.answers.clear();
        let mut effects = Vec::new();
        if self.rows.is_empty() {
            return;
        }
        self.machine = Machine::resume(self.settings.clone(), Roster::empty(), &self.rows, self.now, &mut effects);
        self.perform(effects);
        self.step(Event::Wake);
    }

    fn happens(&mut self, source: &mut Source<'_>) {
        let kind = source.below(20);
        match kind {
            0..6 => {
                // The store keeps its order; the fold answers what it was asked.
                if self.durable < self.rows.len() {
                    self.durable += 1;
                    self.step(Event::Appended { sequence: self.durable as u64 - 1 });
                }
                if let Some(answer) = self.answers.pop_front().filter(|_| kind < 4) {
                    self.step(answer);
                }
            }
            6 => {
                self.now = self.machine.wake_at().unwrap_or(self.now + source.pause());
                self.step(Event::Wake);
            }
            7 if source.below(4) == 0 => self.restart(),
            7 => self.now = self.now + source.pause(),
            _ => {
                let event = said(kind, source);
                self.step(event);
            }
        }
    }
}

/// What a peer does, sensible or not.
fn said(kind: u8, source: &mut Source<'_>) -> Event {
    let choice = source.byte();
    let client = ClientId::simulated(usize::from(choice % CLIENTS), usize::from(CLIENTS));
    let ticket = ticket(source);
    match kind {
        8..11 => {
            let role = if choice >> 7 == 1 { Role::Evaluator } else { Role::Client };
            Event::Joined { client, role, holding: (choice >> 6 & 1 == 1).then_some(ticket), weight: 1 }
        }
        11 => Event::Left { client },
        12 => Event::TaskAccepted { client, ticket },
        13 => Event::TaskDeclined { client, ticket, reason: "no".to_owned() },
        14 => Event::Refused { client, ticket, reason: "bad".to_owned() },
        15 => Event::Evaluated { client, ticket },
        16 if choice >> 4 == 0 => Event::Revoked { client },
        16 if choice >> 4 == 1 => Event::TargetReached,
        16 if choice >> 4 == 2 => Event::StopAsked,
        16 if choice >> 4 == 3 => Event::StoreFailed { reason: "full".to_owned() },
        16 if choice >> 4 == 4 => Event::Postponed { client, ticket, reason: "full".to_owned() },
        16 => Event::Progress { client, ticket },
        _ => {
            let weight = if choice >> 4 == 0 { source.number() } else { u64::from(choice) };
            Event::Staged { client, ticket, weight, digest: Digest([choice >> 6; 32]) }
        }
    }
}

fn ticket(source: &mut Source<'_>) -> Ticket {
    let choice = source.byte();
    match choice >> 6 {
        0 => Ticket::Evaluate { version: Version(u64::from(choice & 3)) },
        attempt => Ticket::Train { round: Round(u64::from(choice & 3)), attempt: Attempt(u32::from(attempt) - 1) },
    }
}
