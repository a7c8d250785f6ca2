//! Stories of one client: what it does about offers, cuts and cancellations.

use tributary_common::Digest;
use tributary_common::id::{Attempt, Round, Slot, Ticket, Version};
use tributary_common::message::Offer;

use super::{Effect, Event, Machine, OFFERS_MAX};

const fn train(round: u64) -> Ticket {
    Ticket::Train { round: Round(round), attempt: Attempt(0) }
}

const fn evaluate(version: u64) -> Ticket {
    Ticket::Evaluate { version: Version(version) }
}

const fn offer(ticket: Ticket) -> Offer {
    Offer { ticket, slot: Slot(0), version: Version(0), model: Digest([0; 32]), bytes: 8, left_ms: 1000 }
}

fn check(machine: &mut Machine, event: Event, expected: &[Effect]) {
    let mut effects = Vec::new();
    machine.step(event.clone(), &mut effects);
    assert_eq!(effects, expected, "after {event:?}");
}

fn connected() -> Machine {
    let mut machine = Machine::default();
    check(&mut machine, Event::Connected, &[]);
    machine
}

fn to_returning(machine: &mut Machine, ticket: Ticket, give_back: Effect) {
    check(machine, Event::Offered(offer(ticket)), &[Effect::Accept { ticket }, Effect::Fetch(offer(ticket))]);
    check(machine, Event::Fetched { ticket }, &[Effect::Work(offer(ticket))]);
    check(machine, Event::Finished { ticket, digest: Some(Digest([1; 32])) }, &[give_back]);
}

#[test]
fn a_round_goes_from_offer_to_receipt() {
    let mut machine = connected();
    let ticket = train(1);
    to_returning(&mut machine, ticket, Effect::Put { ticket });
    assert_eq!(machine.holding(), Some(ticket));
    check(&mut machine, Event::Received { ticket, digest: Digest([1; 32]) }, &[Effect::Forget { ticket }]);
    assert_eq!((machine.holding(), machine.phase()), (None, None));
}

#[test]
fn an_update_that_was_not_acknowledged_is_put_again_after_a_reconnect() {
    let mut machine = connected();
    let ticket = train(1);
    to_returning(&mut machine, ticket, Effect::Put { ticket });
    check(&mut machine, Event::Disconnected, &[]);
    assert_eq!(machine.holding(), Some(ticket));
    check(&mut machine, Event::Connected, &[Effect::Put { ticket }]);
}

#[test]
fn training_goes_on_without_a_connection_and_its_result_waits() {
    let mut machine = connected();
    let ticket = train(1);
    check(&mut machine, Event::Offered(offer(ticket)), &[Effect::Accept { ticket }, Effect::Fetch(offer(ticket))]);
    check(&mut machine, Event::Fetched { ticket }, &[Effect::Work(offer(ticket))]);
    check(&mut machine, Event::Disconnected, &[]);
    check(&mut machine, Event::Finished { ticket, digest: Some(Digest([1; 32])) }, &[]);
    check(&mut machine, Event::Connected, &[Effect::Put { ticket }]);
}

#[test]
fn a_repeated_offer_does_not_train_twice() {
    let mut machine = connected();
    let ticket = train(1);
    check(&mut machine, Event::Offered(offer(ticket)), &[Effect::Accept { ticket }, Effect::Fetch(offer(ticket))]);
    check(&mut machine, Event::Offered(offer(ticket)), &[Effect::Fetch(offer(ticket))]);
    check(&mut machine, Event::Fetched { ticket }, &[Effect::Work(offer(ticket))]);
    check(&mut machine, Event::Fetched { ticket }, &[]);
    check(&mut machine, Event::Offered(offer(ticket)), &[Effect::Accept { ticket }]);
    check(&mut machine, Event::Finished { ticket, digest: Some(Digest([1; 32])) }, &[Effect::Put { ticket }]);
    check(&mut machine, Event::Offered(offer(ticket)), &[Effect::Put { ticket }]);
}

#[test]
fn cancelled_work_stops_and_the_next_offer_begins() {
    let mut machine = connected();
    let (first, second) = (train(1), evaluate(1));
    check(&mut machine, Event::Offered(offer(first)), &[Effect::Accept { ticket: first }, Effect::Fetch(offer(first))]);
    check(&mut machine, Event::Fetched { ticket: first }, &[Effect::Work(offer(first))]);
    check(&mut machine, Event::Offered(offer(second)), &[]);
    check(
        &mut machine,
        Event::Cancelled { ticket: first },
        &[
            Effect::Stop { ticket: first },
            Effect::Forget { ticket: first },
            Effect::Accept { ticket: second },
            Effect::Fetch(offer(second)),
        ],
    );
    check(&mut machine, Event::Finished { ticket: first, digest: Some(Digest([1; 32])) }, &[]);
}

#[test]
fn a_newer_round_replaces_an_older_one() {
    let mut machine = connected();
    let (old, new) = (train(1), train(2));
    to_returning(&mut machine, old, Effect::Put { ticket: old });
    check(
        &mut machine,
        Event::Offered(offer(new)),
        &[Effect::Forget { ticket: old }, Effect::Accept { ticket: new }, Effect::Fetch(offer(new))],
    );
}

#[test]
fn a_failed_training_is_declined_with_its_reason() {
    let mut machine = connected();
    let ticket = train(1);
    check(&mut machine, Event::Offered(offer(ticket)), &[Effect::Accept { ticket }, Effect::Fetch(offer(ticket))]);
    check(
        &mut machine,
        Event::Failed { ticket, reason: "full disk".into() },
        &[Effect::Decline { ticket, reason: "full disk".into() }, Effect::Forget { ticket }],
    );
}

#[test]
fn an_evaluation_is_reported_and_offers_beyond_the_limit_are_declined() {
    let mut machine = connected();
    to_returning(&mut machine, evaluate(1), Effect::Report { ticket: evaluate(1) });
    for version in 2..2 + OFFERS_MAX as u64 {
        check(&mut machine, Event::Offered(offer(evaluate(version))), &[]);
    }
    let ticket = evaluate(99);
    let reason = format!("{OFFERS_MAX} offers are waiting already");
    check(&mut machine, Event::Offered(offer(ticket)), &[Effect::Decline { ticket, reason }]);
    check(
        &mut machine,
        Event::Reported { ticket: evaluate(1) },
        &[
            Effect::Forget { ticket: evaluate(1) },
            Effect::Accept { ticket: evaluate(2) },
            Effect::Fetch(offer(evaluate(2))),
        ],
    );
}

/// What goes wrong without it: a client that was killed trains again what it had finished.
#[test]
fn a_restored_update_is_given_at_once_and_never_trained_again() {
    let ticket = train(3);
    let mut machine = Machine::default();
    check(&mut machine, Event::Restored { offer: offer(ticket), digest: Digest([1; 32]) }, &[]);
    assert_eq!(machine.holding(), Some(ticket));
    check(&mut machine, Event::Connected, &[Effect::Put { ticket }]);
    check(&mut machine, Event::Offered(offer(ticket)), &[Effect::Put { ticket }]);
    check(&mut machine, Event::Restored { offer: offer(train(2)), digest: Digest([2; 32]) }, &[]);
    check(&mut machine, Event::Received { ticket, digest: Digest([1; 32]) }, &[Effect::Forget { ticket }]);
}

/// What goes wrong without it: a coordinator whose disk is full for a moment costs every client its training.
#[test]
fn what_was_not_taken_is_given_again_while_it_is_wanted() {
    let mut machine = connected();
    let ticket = train(1);
    check(&mut machine, Event::Due { ticket }, &[]);
    to_returning(&mut machine, ticket, Effect::Put { ticket });
    check(&mut machine, Event::Due { ticket }, &[Effect::Put { ticket }]);
    check(&mut machine, Event::Disconnected, &[]);
    check(&mut machine, Event::Due { ticket }, &[]);
    assert_eq!(machine.holding(), Some(ticket));
    check(&mut machine, Event::Connected, &[Effect::Put { ticket }]);
    check(&mut machine, Event::Cancelled { ticket }, &[Effect::Forget { ticket }]);
    check(&mut machine, Event::Due { ticket }, &[]);
}

/// What goes wrong without it: a stream that breaks under a model costs its client the round.
#[test]
fn a_model_or_a_result_whose_transfer_failed_is_tried_again_while_it_is_wanted() {
    let mut machine = connected();
    let ticket = evaluate(1);
    check(&mut machine, Event::Offered(offer(ticket)), &[Effect::Accept { ticket }, Effect::Fetch(offer(ticket))]);
    check(&mut machine, Event::Due { ticket }, &[Effect::Fetch(offer(ticket))]);
    check(&mut machine, Event::Due { ticket: train(1) }, &[]);
    check(&mut machine, Event::Fetched { ticket }, &[Effect::Work(offer(ticket))]);
    check(&mut machine, Event::Due { ticket }, &[]);
    check(&mut machine, Event::Finished { ticket, digest: None }, &[Effect::Report { ticket }]);
    check(&mut machine, Event::Due { ticket }, &[Effect::Report { ticket }]);
    check(&mut machine, Event::Cancelled { ticket }, &[Effect::Forget { ticket }]);
    check(&mut machine, Event::Due { ticket }, &[]);
}

/// What goes wrong without it: an update that counts nowhere is forgotten, because another one was acknowledged.
#[test]
fn a_receipt_of_another_update_ends_nothing() {
    let mut machine = connected();
    let ticket = train(1);
    to_returning(&mut machine, ticket, Effect::Put { ticket });
    check(&mut machine, Event::Received { ticket, digest: Digest([2; 32]) }, &[]);
    assert_eq!(machine.holding(), Some(ticket));
    check(&mut machine, Event::Received { ticket, digest: Digest([1; 32]) }, &[Effect::Forget { ticket }]);
}
