//! The client's machine under any sequence of events.

use std::collections::BTreeSet;

use tributary_client::machine::{Effect, Event, Machine, OFFERS_MAX, Phase};
use tributary_common::Digest;
use tributary_common::id::{Attempt, Round, Slot, Ticket, Version};
use tributary_common::message::Offer;

use super::Target;
use crate::Source;

pub(super) const TARGET: Target = Target {
    name: "client_machine",
    help: "what a coordinator says and how work goes, in any order",
    input_bytes_max: 4096,
    heap_bytes_max: 64 * 1024,
    heap_bytes_per_byte: 0,
    run,
};

/// Effects of one event at most: declined, stopped, forgotten, and the next work is accepted and fetched.
const EFFECTS_MAX: usize = 5;

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let mut machine = Machine::new();
    let mut effects = Vec::new();
    // Fetched and not forgotten: the shell keeps a model or a result for each of these.
    let mut kept = BTreeSet::new();
    while !source.is_empty() {
        let before = machine.phase();
        let event = event(&mut source);
        if matches!(event, Event::Disconnected) && before.is_some_and(|(_, phase)| phase == Phase::Fetching) {
            kept.clear();
        }
        machine.step(event.clone(), &mut effects);
        assert!(effects.len() <= EFFECTS_MAX, "{event:?} has {effects:?}");
        for effect in effects.drain(..) {
            match effect {
                Effect::Fetch(offer) => {
                    kept.insert(offer.ticket);
                }
                Effect::Forget { ticket } => {
                    kept.remove(&ticket);
                }
                Effect::Put { ticket } => assert_eq!(machine.holding(), Some(ticket), "only an update is put"),
                Effect::Report { ticket } => assert_eq!(machine.phase(), Some((ticket, Phase::Returning))),
                Effect::Work(offer) => assert_eq!(machine.phase(), Some((offer.ticket, Phase::Working))),
                Effect::Accept { .. } | Effect::Decline { .. } | Effect::Stop { .. } => {}
            }
        }
        assert!(kept.len() <= 1 + OFFERS_MAX, "a client keeps what it works on: {kept:?}");
    }
}

fn event(source: &mut Source<'_>) -> Event {
    let kind = source.below(11);
    let ticket = ticket(source);
    match kind {
        0 => Event::Cancelled { ticket },
        1 => Event::Connected,
        2 => Event::Disconnected,
        3 => Event::Failed { ticket, reason: "no".to_owned() },
        4 => Event::Fetched { ticket },
        5 => Event::Finished { ticket, digest: Some(Digest([source.below(2); 32])) },
        6 => Event::Received { ticket, digest: Digest([source.below(2); 32]) },
        7 => Event::Refused { ticket },
        8 => Event::Reported { ticket },
        9 => Event::Due { ticket },
        _ if source.below(8) == 0 => Event::Restored { offer: offer(ticket), digest: Digest([source.below(2); 32]) },
        _ => Event::Offered(offer(ticket)),
    }
}

fn offer(ticket: Ticket) -> Offer {
    Offer { ticket, slot: Slot(0), version: Version(0), model: Digest([0; 32]), bytes: 8, left_ms: 1000 }
}

fn ticket(source: &mut Source<'_>) -> Ticket {
    let choice = source.byte();
    match choice >> 6 {
        0 => Ticket::Evaluate { version: Version(u64::from(choice & 7)) },
        attempt => Ticket::Train { round: Round(u64::from(choice & 7)), attempt: Attempt(u32::from(attempt) - 1) },
    }
}
