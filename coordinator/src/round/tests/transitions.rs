//! The table of states and events: a changed transition is a one-line difference in a committed file.

use std::fmt::Write as _;

use tributary_common::Digest;
use tributary_common::id::Version;
use tributary_common::identity::Role;

use super::super::{Effect, Event, Phase};
use super::{Story, client, joined, settings, ticket};

/// What brings a fresh machine of two clients, quorum 2, into each state. Behind the slash stands the slot of the client
/// that the events are about.
fn states() -> Vec<(&'static str, Vec<Event>)> {
    let staged =
        |index| Event::Staged { client: client(index), ticket: ticket(1, 0), weight: 1, digest: Digest([0; 32]) };
    let appended = |sequence| Event::Appended { sequence };
    let (who, work, reason) = (client(0), ticket(1, 0), String::new());
    let idle = vec![appended(0), joined(0)];
    let opening = [idle.clone(), vec![joined(1)]].concat();
    let offered = [opening.clone(), vec![appended(1)]].concat();
    let then = |more: &[Event]| [offered.clone(), more.to_vec()].concat();
    let closing = then(&[staged(0), staged(1), appended(3), appended(4)]);
    let committing = [closing.clone(), vec![Event::Closed { ticket: work }]].concat();
    let built = Event::Committed { version: Version(1), digest: Digest([3; 32]) };
    let building = [committing.clone(), vec![built]].concat();
    vec![
        ("idle", idle),
        ("opening", opening),
        ("collecting/training", then(&[Event::TaskAccepted { client: who.clone(), ticket: work }])),
        (
            "collecting/postponed",
            then(&[Event::Postponed { client: who.clone(), ticket: work, reason: reason.clone() }]),
        ),
        ("collecting/staged", then(&[staged(0)])),
        ("collecting/folded", then(&[staged(0), appended(2)])),
        (
            "collecting/declined",
            then(&[Event::TaskDeclined { client: who.clone(), ticket: work, reason: reason.clone() }]),
        ),
        ("collecting/lost", then(&[Event::Refused { client: who.clone(), ticket: work, reason }])),
        ("collecting/away", then(&[Event::Left { client: who }])),
        ("collecting/offered", then(&[])),
        ("aborting", {
            let decline = |index| Event::TaskDeclined { client: client(index), ticket: work, reason: String::new() };
            then(&[decline(0), decline(1)])
        }),
        ("closing", closing),
        ("committing", committing),
        ("built", building.clone()),
        ("stopping", [building.clone(), vec![Event::StopAsked]].concat()),
        ("paused", then(&[Event::StopAsked])),
        ("done", [building, vec![Event::TargetReached, appended(5)]].concat()),
    ]
}

fn events(last_row: u64) -> Vec<(&'static str, Event)> {
    let (client, ticket, digest) = (client(0), ticket(1, 0), Digest([0; 32]));
    let reason = || "r".to_owned();
    vec![
        ("Appended", Event::Appended { sequence: last_row }),
        ("Closed", Event::Closed { ticket }),
        ("Committed", Event::Committed { version: Version(1), digest: Digest([3; 32]) }),
        ("Evaluated", Event::Evaluated { client: client.clone(), ticket }),
        ("Joined", joined(0)),
        (
            "Joined, holding",
            Event::Joined { client: client.clone(), role: Role::Client, holding: Some(ticket), weight: 1 },
        ),
        ("Left", Event::Left { client: client.clone() }),
        ("Postponed", Event::Postponed { client: client.clone(), ticket, reason: reason() }),
        ("Progress", Event::Progress { client: client.clone(), ticket }),
        ("Refused", Event::Refused { client: client.clone(), ticket, reason: reason() }),
        ("Revoked", Event::Revoked { client: client.clone() }),
        ("Staged", Event::Staged { client: client.clone(), ticket, weight: 1, digest }),
        ("Staged, other", Event::Staged { client: client.clone(), ticket, weight: 1, digest: Digest([9; 32]) }),
        ("StopAsked", Event::StopAsked),
        ("StoreFailed", Event::StoreFailed { reason: reason() }),
        ("TargetReached", Event::TargetReached),
        ("TaskAccepted", Event::TaskAccepted { client: client.clone(), ticket }),
        ("TaskDeclined", Event::TaskDeclined { client, ticket, reason: reason() }),
        ("Wake", Event::Wake),
    ]
}

fn name(effect: &Effect) -> String {
    let text = format!("{effect:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
}

/// The phase, and in it the slot of the client that the events are about.
fn state(phase: &Phase) -> String {
    match phase {
        Phase::Collecting(round) => format!("collecting/{}", round.places[0].slot.name()),
        Phase::Closing(_) | Phase::Committing(_) | Phase::Done { .. } | Phase::Idle => phase.name().to_owned(),
    }
}

fn table() -> String {
    let mut table = String::from(
        "state × event → state: effects. Two clients, quorum 2, two rounds; the clock stands.\n\
         Behind the slash: the slot of the client that the event is about.\n",
    );
    for (from, path) in states() {
        let mut story = Story::new(settings(2, 2, 2));
        for step in &path {
            story.step(step.clone());
        }
        for (event_name, event) in events(story.machine.next_sequence - 1) {
            let mut story = Story { machine: story.machine.clone(), now: story.now };
            let effects: Vec<_> = story.step(event).iter().map(name).collect();
            let to = state(story.machine.phase());
            let effects = if effects.is_empty() { "-".to_owned() } else { effects.join(", ") };
            writeln!(table, "{from:<20} × {event_name:<15} → {to:<20}: {effects}").unwrap();
        }
    }
    table
}

/// What goes wrong without it: a transition changes and no reviewer sees it. `UPDATE_TRANSITIONS=1` writes the file anew.
#[test]
fn table_of_transitions_is_the_committed_one() {
    let table = table();
    #[expect(clippy::disallowed_methods, reason = "whoever means a change says so from outside")]
    if std::env::var("UPDATE_TRANSITIONS").is_ok() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/round/transitions.txt"), &table).unwrap();
        return;
    }
    for (ours, committed) in table.lines().zip(include_str!("../transitions.txt").lines()) {
        assert_eq!(ours, committed, "if that is meant, run this test with UPDATE_TRANSITIONS=1");
    }
    assert_eq!(table.len(), include_str!("../transitions.txt").len());
}
