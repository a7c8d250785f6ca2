//! The machine's tests: stories with whole effect vectors, the table of transitions, and random scripts.

mod checker;
mod restarts;
mod scripts;
mod shares;
mod stories;
mod transitions;

use std::time::Duration;

use tributary_common::Digest;
use tributary_common::id::{Attempt, ClientId, Round, RunId, Seed, Ticket};
use tributary_common::identity::Role;
use tributary_common::time::Time;

use super::{CohortSize, Effect, Event, Machine, Quorum, Roster, Row, Settings};
use crate::select::Selector;

const DEADLINE: Duration = Duration::from_secs(10);

fn settings(rounds: u64, wait_for: usize, quorum: usize) -> Settings {
    Settings {
        seed: Seed(1),
        rounds,
        selector: Selector::Random,
        cohort: CohortSize::All,
        wait_for,
        quorum: Quorum::Number(quorum),
        max_weight_share: None,
        deadline: DEADLINE,
        evaluate: None,
        has_target: false,
    }
}

fn created() -> Row {
    Row::RunCreated { run: RunId([0; 16]), config: Digest([1; 32]), model: Digest([2; 32]) }
}

/// A round opened for the first `clients` clients.
fn opened(ticket: Ticket, clients: usize) -> Row {
    Row::RoundOpened { ticket, cohort: (0..clients).map(client).collect(), weight_max: None }
}

fn client(index: usize) -> ClientId {
    ClientId::simulated(index, 10)
}

const fn ticket(round: u64, attempt: u32) -> Ticket {
    Ticket::Train { round: Round(round), attempt: Attempt(attempt) }
}

fn joined(index: usize) -> Event {
    Event::Joined { client: client(index), role: Role::Client, holding: None, weight: 1 }
}

/// A machine with a clock, whose every effect must be named by the test.
struct Story {
    machine: Machine,
    now: Time,
}

impl Story {
    /// A machine whose first row is durable.
    fn new(settings: Settings) -> Self {
        let mut effects = Vec::new();
        let machine = Machine::new(settings, Roster::empty(), created(), &mut effects);
        assert_eq!(effects, [Effect::Append { sequence: 0, row: created() }]);
        Self { machine, now: Time::ZERO }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.machine.step(self.now, event, &mut effects);
        self.machine.assert_invariants();
        self.machine.assert_woken(self.now);
        effects
    }

    fn check(&mut self, event: Event, expected: &[Effect]) {
        let effects = self.step(event.clone());
        assert_eq!(effects, expected, "after {event:?}");
    }
}
