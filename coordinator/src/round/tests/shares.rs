//! One client's share of a round's weight: bounded when the round opens, over restarts too.

use tributary_common::identity::Role;
use tributary_common::time::Time;

use super::super::{Effect, Event, Machine, Recorded, Roster, Row, WeightShare};
use super::stories::{digest, offer, waiting};
use super::{DEADLINE, Story, client, created, settings, ticket};

fn joined(index: usize, weight: u64) -> Event {
    Event::Joined { client: client(index), role: Role::Client, holding: None, weight }
}

fn staged(index: usize, weight: u64) -> Event {
    Event::Staged { client: client(index), ticket: ticket(1, 0), weight, digest: digest(index) }
}

fn accepted(index: usize, weight: u64) -> Row {
    Row::UpdateAccepted { ticket: ticket(1, 0), client: client(index), weight, digest: digest(index) }
}

/// What goes wrong without it: what a client counts for depends on who was faster, or is another thing after a restart.
#[test]
fn a_clients_share_is_fixed_when_the_round_opens_and_kept_over_a_restart() {
    let mut settings = settings(1, 3, 3);
    settings.max_weight_share = WeightShare::new(0.5);
    let mut story = Story::new(settings.clone());
    story.check(Event::Appended { sequence: 0 }, &[waiting(0, 3)]);
    story.check(joined(0, 10), &[waiting(1, 3)]);
    story.check(joined(1, 20), &[waiting(2, 3)]);
    // c ≤ (c + 30) / 2.
    let t = ticket(1, 0);
    let row = Row::RoundOpened { ticket: t, cohort: (0..3).map(client).collect(), weight_max: Some(30) };
    story.check(joined(2, 1000), &[Effect::Append { sequence: 1, row: row.clone() }]);
    let offers = [0, 1, 2].map(|index| offer(index, t, 0, DEADLINE));
    story.check(Event::Appended { sequence: 1 }, &offers);
    // What it says now is not what it said then.
    story.check(joined(1, 1 << 30), &[offer(1, t, 0, DEADLINE)]);
    story.check(staged(1, 1 << 30), &[Effect::Append { sequence: 2, row: accepted(1, 30) }]);
    story.check(staged(0, 10), &[Effect::Append { sequence: 3, row: accepted(0, 10) }]);

    // Another process knows of nobody what it announced.
    let rows = [created(), row, accepted(1, 30)].map(|row| Recorded { at: Time::ZERO, row });
    let mut effects = Vec::new();
    let machine = Machine::resume(settings, Roster::empty(), &rows, Time::ZERO, &mut effects);
    assert_eq!(effects, [Effect::Fold { client: client(1), ticket: t, weight: 30 }]);
    let mut story = Story { machine, now: Time::ZERO };
    story.check(joined(2, 1), &[offer(2, t, 0, DEADLINE)]);
    story.check(staged(2, 1000), &[Effect::Append { sequence: 3, row: accepted(2, 30) }]);
}
