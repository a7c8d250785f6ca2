//! The table of phases and events: a changed transition is a one-line difference in a committed file.

use std::fmt::Write as _;

use tributary_common::Digest;
use tributary_common::id::Version;

use super::super::{Effect, Event};
use super::{Story, client, joined, settings, ticket};

/// What brings a fresh machine of two clients, quorum 2, into each phase.
fn phases() -> Vec<(&'static str, Vec<Event>)> {
    let staged =
        |index| Event::Staged { client: client(index), ticket: ticket(1, 0), weight: 1, digest: Digest([0; 32]) };
    let steps = vec![
        ("idle", vec![Event::Appended { sequence: 0 }, joined(0)]),
        ("opening", vec![joined(1)]),
        ("collecting", vec![Event::Appended { sequence: 1 }]),
        ("closing", vec![staged(0), staged(1), Event::Appended { sequence: 3 }, Event::Appended { sequence: 4 }]),
        ("committing", vec![Event::Closed { ticket: ticket(1, 0) }]),
        ("committed", vec![Event::Committed { version: Version(1), digest: Digest([3; 32]) }]),
        ("done", vec![Event::StopAsked]),
    ];
    let mut path = Vec::new();
    steps
        .into_iter()
        .map(|(name, more)| {
            path.extend(more);
            (name, path.clone())
        })
        .collect()
}

fn events() -> Vec<(&'static str, Event)> {
    let (client, ticket, digest) = (client(0), ticket(1, 0), Digest([0; 32]));
    vec![
        ("Appended", Event::Appended { sequence: 5 }),
        ("Closed", Event::Closed { ticket }),
        ("Committed", Event::Committed { version: Version(1), digest: Digest([3; 32]) }),
        ("Evaluated", Event::Evaluated { client: client.clone(), ticket }),
        ("Joined", joined(0)),
        ("Left", Event::Left { client: client.clone() }),
        ("Refused", Event::Refused { client: client.clone(), ticket, reason: "r".into() }),
        ("Staged", Event::Staged { client: client.clone(), ticket, weight: 1, digest }),
        ("StopAsked", Event::StopAsked),
        ("StoreFailed", Event::StoreFailed { reason: "r".into() }),
        ("TargetReached", Event::TargetReached),
        ("TaskAccepted", Event::TaskAccepted { client: client.clone(), ticket }),
        ("TaskDeclined", Event::TaskDeclined { client, ticket, reason: "r".into() }),
        ("Wake", Event::Wake),
    ]
}

fn name(effect: &Effect) -> String {
    let text = format!("{effect:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
}

#[test]
fn table_of_transitions_is_the_committed_one() {
    let mut table =
        String::from("phase × event → phase: effects. Two clients, quorum 2, one round; the clock stands.\n");
    for (phase, path) in phases() {
        for (event_name, event) in events() {
            let mut story = Story::new(settings(2, 2, 2));
            for step in &path {
                story.step(step.clone());
            }
            let effects: Vec<_> = story.step(event).iter().map(name).collect();
            let to = story.machine.phase().name();
            let effects = if effects.is_empty() { "-".to_owned() } else { effects.join(", ") };
            writeln!(table, "{phase:<10} × {event_name:<13} → {to:<10}: {effects}").unwrap();
        }
    }
    let committed = include_str!("transitions.txt");
    if table != committed {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/round/tests/transitions.txt.new");
        std::fs::write(path, &table).unwrap();
        panic!("the table differs from transitions.txt; compare with {path} and move it over if that is meant");
    }
}
