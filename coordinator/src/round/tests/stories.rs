//! Stories of rounds: every effect is named, in order.

use std::collections::BTreeSet;
use std::time::Duration;

use tributary_common::Digest;
use tributary_common::id::{ClientId, Slot as SlotId, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::time::Time;

use super::super::{
    ATTEMPTS_MAX, CohortSize, Effect, Evaluation, Event, Fate, Loss, Machine, Reason, Recorded, Report, Roster, Row,
    Settings, Slot, Standing, WEIGHT_MAX,
};
use super::{DEADLINE, Story, client, created, joined, settings, ticket};

fn offer(index: usize, ticket: Ticket, version: u64, left: Duration) -> Effect {
    let slot = SlotId(u32::try_from(index).unwrap());
    Effect::Offer { client: client(index), ticket, slot, version: Version(version), left }
}

fn digest(index: usize) -> Digest {
    Digest([u8::try_from(index).unwrap(); 32])
}

fn staged(index: usize, ticket: Ticket) -> Event {
    Event::Staged { client: client(index), ticket, weight: 10, digest: digest(index) }
}

fn accepted_row(index: usize, ticket: Ticket) -> Row {
    Row::UpdateAccepted { ticket, client: client(index), weight: 10, digest: digest(index) }
}

fn fold_and_receipt(index: usize, ticket: Ticket) -> [Effect; 2] {
    let (client, digest) = (client(index), digest(index));
    [Effect::Fold { client: client.clone(), ticket, weight: 10 }, Effect::Receipt { client, ticket, digest }]
}

fn folded(index: usize) -> Slot {
    Slot::Folded { weight: 10, digest: digest(index) }
}

fn waiting(joined: usize, needed: usize) -> Effect {
    Effect::Publish(Report::Waiting { joined, needed, lacks_evaluator: false })
}

/// A round of clients 0 and 1 whose offers are out; the next row has number 2.
fn open(rounds: u64, quorum: usize) -> Story {
    let mut story = Story::new(settings(rounds, 2, quorum));
    story.check(Event::Appended { sequence: 0 }, &[waiting(0, 2)]);
    story.check(joined(0), &[waiting(1, 2)]);
    let row = Row::RoundOpened { ticket: ticket(1, 0), cohort: vec![client(0), client(1)] };
    story.check(joined(1), &[Effect::Append { sequence: 1, row }]);
    story.check(
        Event::Appended { sequence: 1 },
        &[offer(0, ticket(1, 0), 0, DEADLINE), offer(1, ticket(1, 0), 0, DEADLINE)],
    );
    story
}

fn fate(index: usize, slot: Slot, ended: Time) -> Fate {
    Fate { client: client(index), slot, ended }
}

#[test]
fn a_round_goes_from_offers_to_a_commit_in_the_order_of_durability() {
    let mut story = open(1, 2);
    let t = ticket(1, 0);
    story.check(Event::TaskAccepted { client: client(0), ticket: t }, &[]);
    story.check(staged(0, t), &[Effect::Append { sequence: 2, row: accepted_row(0, t) }]);
    // The second arrives before the first is durable: no receipt leaves yet.
    story.check(staged(1, t), &[Effect::Append { sequence: 3, row: accepted_row(1, t) }]);
    story.check(Event::Appended { sequence: 2 }, &fold_and_receipt(0, t));
    let [fold, receipt] = fold_and_receipt(1, t);
    let fates = vec![fate(0, folded(0), Time::ZERO), fate(1, folded(1), Time::ZERO)];
    story.check(
        Event::Appended { sequence: 3 },
        &[
            fold,
            receipt,
            Effect::Publish(Report::Closed { ticket: t, opened: Time::ZERO, fates }),
            Effect::Append { sequence: 4, row: Row::RoundClosing { ticket: t } },
        ],
    );
    story.check(Event::Appended { sequence: 4 }, &[Effect::Close { ticket: t }]);
    story.check(Event::Closed { ticket: t }, &[Effect::Commit { ticket: t, version: Version(1), weight: 20 }]);
    let row = Row::ModelCommitted { ticket: t, version: Version(1), digest: digest(9), weight: 20 };
    let committed = Event::Committed { version: Version(1), digest: digest(9) };
    story.check(committed.clone(), &[Effect::Append { sequence: 5, row }]);
    story.check(committed, &[]);
    story.check(
        Event::Appended { sequence: 5 },
        &[
            Effect::Publish(Report::Finished {
                ticket: t,
                version: Version(1),
                clients: 2,
                weight: 20,
                digest: digest(9),
                opened: Time::ZERO,
                committed: Time::ZERO,
            }),
            Effect::Stop { reason: Reason::Rounds },
        ],
    );
    // After the end come only goodbyes.
    story.check(joined(3), &[Effect::Goodbye { client: client(3), reason: Reason::Rounds }]);
    story.check(Event::StopAsked, &[]);
}

#[test]
fn late_update_of_an_abandoned_attempt_is_discarded() {
    let mut story = open(1, 2);
    let t = ticket(1, 0);
    story.check(staged(0, t), &[Effect::Append { sequence: 2, row: accepted_row(0, t) }]);
    story.check(Event::Appended { sequence: 2 }, &fold_and_receipt(0, t));
    story.now = Time::ZERO + DEADLINE;
    let reason = "the deadline is over".to_owned();
    let fates = vec![fate(0, folded(0), Time::ZERO), fate(1, Slot::Lost(Loss::Late), story.now)];
    let missing = "1 of 2 updates came, 2 are needed; late: client-001".to_owned();
    story.check(
        Event::Wake,
        &[
            Effect::Cancel { client: client(1), ticket: t, reason },
            Effect::Publish(Report::Closed { ticket: t, opened: Time::ZERO, fates }),
            Effect::Append { sequence: 3, row: Row::RoundAborted { ticket: t, missing: missing.clone() } },
        ],
    );
    story.check(
        Event::Appended { sequence: 3 },
        &[Effect::Drop { ticket: t }, Effect::Publish(Report::Aborted { ticket: t, missing })],
    );
    assert_eq!(story.machine.wake_at(), Some(story.now + Duration::from_secs(1)));
    story.now = story.now + Duration::from_secs(1);
    let row = Row::RoundOpened { ticket: ticket(1, 1), cohort: vec![client(0), client(1)] };
    story.check(Event::Wake, &[Effect::Append { sequence: 4, row }]);
    story.check(
        Event::Appended { sequence: 4 },
        &[offer(0, ticket(1, 1), 0, DEADLINE), offer(1, ticket(1, 1), 0, DEADLINE)],
    );
    let reason = "the work is over, version 0 is committed".to_owned();
    story.check(staged(1, t), &[Effect::Discard { client: client(1), ticket: t, reason }]);
}

#[test]
fn a_run_gives_up_after_its_attempts_and_says_what_was_missing() {
    let mut story = open(1, 2);
    for attempt in 0..ATTEMPTS_MAX {
        let t = ticket(1, attempt);
        for index in 0..2 {
            story.step(Event::TaskDeclined { client: client(index), ticket: t, reason: "no disk".into() });
        }
        let effects = story.step(Event::Appended { sequence: story.machine.next_sequence - 1 });
        if attempt + 1 == ATTEMPTS_MAX {
            let Some(Effect::Stop { reason: Reason::QuorumMissed { missing } }) = effects.last() else {
                panic!("{effects:?}")
            };
            assert_eq!(
                missing,
                "0 of 2 updates came, 2 are needed; declined: client-000 (no disk), client-001 (no disk)"
            );
            return;
        }
        story.now = story.machine.wake_at().unwrap();
        story.step(Event::Wake);
        story.step(Event::Appended { sequence: story.machine.next_sequence - 1 });
    }
}

#[test]
fn a_client_that_comes_back_keeps_its_slot() {
    let mut story = open(1, 2);
    let t = ticket(1, 0);
    story.check(Event::TaskAccepted { client: client(0), ticket: t }, &[]);
    story.check(Event::Left { client: client(0) }, &[]);
    story.now = Time::ZERO + Duration::from_secs(4);
    // It comes back without anything: the same offer again, with the time that is left.
    story.check(joined(0), &[offer(0, t, 0, Duration::from_secs(6))]);
    story.check(Event::Left { client: client(0) }, &[]);
    // It comes back with its update: it will give it, no offer is needed.
    let holding = Event::Joined { client: client(0), role: Role::Client, holding: Some(t) };
    story.check(holding, &[]);
    story.check(staged(0, t), &[Effect::Append { sequence: 2, row: accepted_row(0, t) }]);
}

#[test]
fn the_same_update_again_gets_its_receipt_again_and_another_is_a_conflict() {
    let mut story = open(1, 2);
    let t = ticket(1, 0);
    story.check(staged(0, t), &[Effect::Append { sequence: 2, row: accepted_row(0, t) }]);
    story.check(staged(0, t), &[]);
    story.check(Event::Appended { sequence: 2 }, &fold_and_receipt(0, t));
    let [_, receipt] = fold_and_receipt(0, t);
    story.check(staged(0, t), &[receipt]);
    let reason = "another update of this client for the same work was accepted already".to_owned();
    let other = Event::Staged { client: client(0), ticket: t, weight: 10, digest: digest(7) };
    story.check(other, &[Effect::Discard { client: client(0), ticket: t, reason }]);
    assert!(!story.machine.expects(&client(5), t) && story.machine.expects(&client(1), t));
}

#[test]
fn refused_updates_and_absurd_weights_lose_their_slot_and_leave_the_round_unharmed() {
    let mut story = open(1, 1);
    let t = ticket(1, 0);
    let reason = format!("a weight of 0 is outside 1 to {WEIGHT_MAX}");
    let absurd = Event::Staged { client: client(0), ticket: t, weight: 0, digest: digest(0) };
    story.check(absurd, &[Effect::Discard { client: client(0), ticket: t, reason }]);
    story.check(staged(1, t), &[Effect::Append { sequence: 2, row: accepted_row(1, t) }]);
    let effects = story.step(Event::Appended { sequence: 2 });
    assert!(effects.contains(&Effect::Append { sequence: 3, row: Row::RoundClosing { ticket: t } }), "{effects:?}");
}

/// Without it the first rounds of a deployed run would lack the measures that the same run has in a simulation.
#[test]
fn a_run_that_measures_centrally_waits_for_an_evaluator_before_its_first_round() {
    let mut settings = settings(2, 1, 1);
    settings.evaluate = Some(Evaluation { every: 1, clients: false, central: true, deadline: Duration::from_secs(5) });
    let mut story = Story::new(settings);
    let lacking = |joined| Effect::Publish(Report::Waiting { joined, needed: 1, lacks_evaluator: true });
    story.check(Event::Appended { sequence: 0 }, &[lacking(0)]);
    story.check(joined(0), &[lacking(1)]);
    let judge = Event::Joined { client: "judge".parse().unwrap(), role: Role::Evaluator, holding: None };
    let row = Row::RoundOpened { ticket: ticket(1, 0), cohort: vec![client(0)] };
    story.check(judge, &[Effect::Append { sequence: 1, row }]);
}

#[test]
fn central_evaluation_overlaps_the_next_round_and_its_line_waits() {
    let mut settings = settings(2, 1, 1);
    settings.evaluate = Some(Evaluation { every: 1, clients: false, central: true, deadline: Duration::from_secs(5) });
    let mut story = Story::new(settings);
    let evaluator: ClientId = "judge".parse().unwrap();
    story.step(Event::Appended { sequence: 0 });
    story.step(Event::Joined { client: evaluator.clone(), role: Role::Evaluator, holding: None });
    story.step(joined(0));
    story.step(Event::Appended { sequence: 1 });
    story.step(staged(0, ticket(1, 0)));
    story.step(Event::Appended { sequence: 2 });
    story.step(Event::Appended { sequence: 3 });
    story.step(Event::Closed { ticket: ticket(1, 0) });
    story.step(Event::Committed { version: Version(1), digest: digest(9) });
    let measure = Ticket::Evaluate { version: Version(1) };
    let row = Row::RoundOpened { ticket: ticket(2, 0), cohort: vec![client(0)] };
    story.check(
        Event::Appended { sequence: 4 },
        &[
            Effect::Offer {
                client: evaluator.clone(),
                ticket: measure,
                slot: SlotId(0),
                version: Version(1),
                left: Duration::from_secs(5),
            },
            Effect::Append { sequence: 5, row },
        ],
    );
    let effects = story.step(Event::Evaluated { client: evaluator, ticket: measure });
    assert!(matches!(effects[..], [Effect::Publish(Report::Finished { version: Version(1), .. })]), "{effects:?}");
}

#[test]
fn evaluation_by_clients_comes_before_the_next_offer_and_gives_up_at_its_deadline() {
    let mut settings = settings(2, 1, 1);
    settings.evaluate = Some(Evaluation { every: 1, clients: true, central: false, deadline: Duration::from_secs(5) });
    let mut story = Story::new(settings);
    story.step(Event::Appended { sequence: 0 });
    story.step(joined(0));
    story.step(Event::Appended { sequence: 1 });
    story.step(staged(0, ticket(1, 0)));
    story.step(Event::Appended { sequence: 2 });
    story.step(Event::Appended { sequence: 3 });
    story.step(Event::Closed { ticket: ticket(1, 0) });
    story.step(Event::Committed { version: Version(1), digest: digest(9) });
    let measure = Ticket::Evaluate { version: Version(1) };
    story.check(Event::Appended { sequence: 4 }, &[offer(0, measure, 1, Duration::from_secs(5))]);
    story.now = story.machine.wake_at().unwrap();
    let effects = story.step(Event::Wake);
    assert!(
        matches!(
            &effects[..],
            [
                Effect::Cancel { .. },
                Effect::Publish(Report::Finished { .. }),
                Effect::Append { row: Row::RoundOpened { .. }, .. }
            ]
        ),
        "{effects:?}"
    );
}

/// A run of one client up to the commit of round 1, whose row is not durable yet; that row has number 4.
fn up_to_the_commit(settings: Settings) -> Story {
    let mut story = Story::new(settings);
    for event in [
        Event::Appended { sequence: 0 },
        joined(0),
        Event::Appended { sequence: 1 },
        staged(0, ticket(1, 0)),
        Event::Appended { sequence: 2 },
        Event::Appended { sequence: 3 },
        Event::Closed { ticket: ticket(1, 0) },
        Event::Committed { version: Version(1), digest: digest(9) },
    ] {
        story.step(event);
    }
    story
}

/// What goes wrong without it: the last result opens the next round before the shell could say that it reached the target.
#[test]
fn a_target_reached_by_the_last_result_ends_the_run_before_anything_is_offered() {
    let mut settings = settings(9, 1, 1);
    settings.has_target = true;
    settings.evaluate = Some(Evaluation { every: 1, clients: true, central: false, deadline: Duration::from_secs(5) });
    let mut story = up_to_the_commit(settings);
    story.step(Event::Appended { sequence: 4 });
    let measure = Ticket::Evaluate { version: Version(1) };
    assert_eq!(story.machine.standing(&client(0), measure), Standing::Open);
    let effects = story.step(Event::Evaluated { client: client(0), ticket: measure });
    let row = Row::RoundOpened { ticket: ticket(2, 0), cohort: vec![client(0)] };
    assert!(matches!(effects[0], Effect::Publish(Report::Finished { .. })), "{effects:?}");
    assert_eq!(effects[1..], [Effect::Append { sequence: 5, row }]);
    assert!(!story.machine.expects(&client(0), measure));
    story.check(Event::TargetReached, &[]);
    story.check(Event::Appended { sequence: 5 }, &[Effect::Stop { reason: Reason::Target }]);
}

#[test]
fn a_stop_cancels_what_is_out_and_a_broken_store_stops() {
    let mut story = open(1, 2);
    let t = ticket(1, 0);
    let cancel = |index, reason: &str| Effect::Cancel { client: client(index), ticket: t, reason: reason.to_owned() };
    story.check(staged(0, t), &[Effect::Append { sequence: 2, row: accepted_row(0, t) }]);
    story.check(Event::Appended { sequence: 2 }, &fold_and_receipt(0, t));
    let why = "the coordinator stops for now";
    story.check(Event::StopAsked, &[cancel(1, why), Effect::Stop { reason: Reason::Suspended }]);
    let discard = Effect::Discard { client: client(1), ticket: t, reason: why.to_owned() };
    story.check(staged(1, t), &[discard]);
    story.check(Event::Appended { sequence: 3 }, &[]);
    assert_eq!(story.machine.wake_at(), None);

    let mut story = open(1, 2);
    let reason = "disk full".to_owned();
    let why = "the store failed: disk full";
    story.check(
        Event::StoreFailed { reason: reason.clone() },
        &[cancel(0, why), cancel(1, why), Effect::Stop { reason: Reason::StoreFailed { reason } }],
    );
}

/// What goes wrong without it: the version is committed, and no line of any process ever tells its round.
#[test]
fn a_stop_waits_for_the_row_of_a_version_that_is_built() {
    let mut story = up_to_the_commit(settings(2, 1, 1));
    story.check(Event::StopAsked, &[]);
    let effects = story.step(Event::Appended { sequence: 4 });
    let told = matches!(effects[0], Effect::Publish(Report::Finished { version: Version(1), .. }));
    assert!(told && effects[1..] == [Effect::Stop { reason: Reason::Suspended }], "{effects:?}");
}

/// What goes wrong without it: a client whose receipt was lost is told that its update did not count, although it did.
#[test]
fn a_receipt_lost_with_the_connection_is_said_again_after_the_commit() {
    let t = ticket(1, 0);
    let mut story = up_to_the_commit(settings(2, 1, 1));
    story.check(Event::Left { client: client(0) }, &[]);
    story.step(Event::Appended { sequence: 4 });
    let [_, receipt] = fold_and_receipt(0, t);
    let row = Row::RoundOpened { ticket: ticket(2, 0), cohort: vec![client(0)] };
    let holding = Event::Joined { client: client(0), role: Role::Client, holding: Some(t) };
    story.check(holding, &[receipt.clone(), Effect::Append { sequence: 5, row }]);
    assert!(
        story.machine.has_accepted(&client(0), t, digest(0)) && !story.machine.has_accepted(&client(0), t, digest(1))
    );
    story.check(staged(0, t), &[receipt]);
}

/// What goes wrong without it: a round waits until its deadline for somebody who will not be let in again, or takes back
/// what it has acknowledged.
#[test]
fn nobody_waits_for_a_revoked_client_and_what_it_gave_before_stays_counted() {
    let t = ticket(1, 0);
    let reason = "its certificate was revoked".to_owned();
    let revoked = |index| Event::Revoked { client: client(index) };
    let mut story = open(1, 1);
    story.step(staged(1, t));
    // The row of the one is under way, the other has given nothing.
    story.check(revoked(1), &[]);
    story.check(revoked(0), &[Effect::Cancel { client: client(0), ticket: t, reason }]);
    story.check(staged(0, t), &[Effect::Discard { client: client(0), ticket: t, reason: "the slot is lost".into() }]);
    let effects = story.step(Event::Appended { sequence: 2 });
    assert_eq!(effects[..2], fold_and_receipt(1, t));
    assert_eq!(effects[3..], [Effect::Append { sequence: 3, row: Row::RoundClosing { ticket: t } }]);
    // With another certificate it is a client like any other.
    story.check(joined(0), &[]);
    assert!(story.machine.roster().holds(&client(0)) && !story.machine.roster().holds(&client(1)));
}

#[test]
fn a_staged_update_counts_although_its_row_is_durable_only_after_the_deadline() {
    let mut story = open(1, 1);
    let t = ticket(1, 0);
    story.check(staged(0, t), &[Effect::Append { sequence: 2, row: accepted_row(0, t) }]);
    story.now = Time::ZERO + DEADLINE;
    let reason = "the deadline is over".to_owned();
    story.check(Event::Wake, &[Effect::Cancel { client: client(1), ticket: t, reason }]);
    assert_eq!(story.machine.wake_at(), None);
    let effects = story.step(Event::Appended { sequence: 2 });
    assert_eq!(effects[..2], fold_and_receipt(0, t));
    assert_eq!(effects[3..], [Effect::Append { sequence: 3, row: Row::RoundClosing { ticket: t } }]);
}

/// What goes wrong without it: attempts are burnt on clients that are not there.
#[test]
fn below_quorum_the_machine_waits_for_clients_instead_of_attempts() {
    let mut story = open(1, 2);
    let t = ticket(1, 0);
    story.step(Event::Left { client: client(1) });
    story.step(Event::TaskDeclined { client: client(0), ticket: t, reason: "no".into() });
    story.now = Time::ZERO + DEADLINE;
    story.step(Event::Wake);
    story.step(Event::Appended { sequence: 2 });
    story.now = story.machine.wake_at().unwrap();
    story.check(Event::Wake, &[waiting(1, 2)]);
    story.check(Event::Wake, &[]);
    let row = Row::RoundOpened { ticket: ticket(1, 1), cohort: vec![client(0), client(1)] };
    story.check(joined(1), &[Effect::Append { sequence: 3, row }]);
}

#[test]
fn a_million_simulated_clients_cost_no_more_than_their_cohort() {
    let mut settings = settings(1, 1_000_000, 1);
    settings.cohort = CohortSize::Number(3);
    let mut effects = Vec::new();
    let machine = Machine::new(settings, Roster::simulated(1_000_000), created(), &mut effects);
    let mut story = Story { machine, now: Time::ZERO };
    let effects = story.step(Event::Appended { sequence: 0 });
    let [Effect::Append { row: Row::RoundOpened { cohort, .. }, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert!(cohort.len() == 3 && cohort.is_sorted() && cohort[0].as_str().len() == "client-000000".len());
    assert_eq!(story.step(Event::Appended { sequence: 1 }).len(), 3);
}

fn recorded(seconds: u64, row: Row) -> Recorded {
    Recorded { at: Time::ZERO + Duration::from_secs(seconds), row }
}

/// A machine that goes on at `seconds` behind `rows`, and what it asks for at once.
fn resumed(settings: Settings, rows: &[Recorded], seconds: u64) -> (Story, Vec<Effect>) {
    let now = Time::ZERO + Duration::from_secs(seconds);
    let mut effects = Vec::new();
    let machine = Machine::resume(settings, Roster::empty(), rows, now, &mut effects);
    (Story { machine, now }, effects)
}

/// What goes wrong without it: an update that was acknowledged is asked for again, or lost.
#[test]
fn a_resumed_machine_goes_on_inside_the_round_with_what_is_left_of_its_deadline() {
    let t = ticket(2, 1);
    let rows = [
        recorded(0, created()),
        recorded(0, Row::RoundOpened { ticket: ticket(1, 0), cohort: vec![client(0)] }),
        recorded(1, accepted_row(0, ticket(1, 0))),
        recorded(1, Row::RoundClosing { ticket: ticket(1, 0) }),
        recorded(1, Row::ModelCommitted { ticket: ticket(1, 0), version: Version(1), digest: digest(9), weight: 10 }),
        recorded(2, Row::RoundOpened { ticket: ticket(2, 0), cohort: vec![client(0)] }),
        recorded(3, Row::RoundAborted { ticket: ticket(2, 0), missing: String::new() }),
        recorded(4, Row::RoundOpened { ticket: t, cohort: vec![client(0), client(1), client(2)] }),
        recorded(5, accepted_row(0, t)),
    ];
    let (mut story, effects) = resumed(settings(2, 3, 2), &rows, 6);
    let fold = |index| Effect::Fold { client: client(index), ticket: t, weight: 10 };
    assert_eq!((story.machine.version(), effects), (Version(1), vec![fold(0)]));
    assert_eq!(story.machine.wake_at(), Some(Time::ZERO + Duration::from_secs(14)), "opened at 4 s, 10 s long");
    story.check(Event::Wake, &[]);
    // Whoever was accepted gets the receipt, whoever holds an update gives it, whoever lost it trains again.
    let holding = |index, t| Event::Joined { client: client(index), role: Role::Client, holding: Some(t) };
    let [_, receipt] = fold_and_receipt(0, t);
    story.check(holding(0, t), &[receipt]);
    story.check(holding(1, t), &[]);
    story.check(joined(2), &[offer(2, t, 1, Duration::from_secs(8))]);
    story.check(staged(1, t), &[Effect::Append { sequence: 9, row: accepted_row(1, t) }]);
    story.check(Event::Appended { sequence: 9 }, &fold_and_receipt(1, t));
    story.check(staged(2, t), &[Effect::Append { sequence: 10, row: accepted_row(2, t) }]);
    let effects = story.step(Event::Appended { sequence: 10 });
    assert_eq!(effects[..2], fold_and_receipt(2, t));
    assert_eq!(effects[3..], [Effect::Append { sequence: 11, row: Row::RoundClosing { ticket: t } }]);
}

/// What goes wrong without it: a deadline that passed while nobody served is served again in full, or a round whose
/// updates are all here waits for it.
#[test]
fn a_resumed_round_closes_at_once_when_it_is_complete_or_late() {
    let t = ticket(1, 0);
    let opened = recorded(0, Row::RoundOpened { ticket: t, cohort: vec![client(0), client(1)] });
    let complete = [recorded(0, created()), opened, recorded(1, accepted_row(0, t)), recorded(1, accepted_row(1, t))];
    let (mut story, _) = resumed(settings(1, 2, 1), &complete, 2);
    let effects = story.step(Event::Wake);
    assert_eq!(effects[1..], [Effect::Append { sequence: 4, row: Row::RoundClosing { ticket: t } }]);
    let (mut story, _) = resumed(settings(1, 2, 1), &complete[..3], 10);
    let effects = story.step(Event::Wake);
    let reason = "the deadline is over".to_owned();
    assert_eq!(effects[0], Effect::Cancel { client: client(1), ticket: t, reason });
    assert_eq!(effects[2..], [Effect::Append { sequence: 3, row: Row::RoundClosing { ticket: t } }]);
}

#[test]
fn a_resumed_closing_folds_again_and_commits() {
    let t = ticket(1, 0);
    let rows = [
        recorded(0, created()),
        recorded(0, Row::RoundOpened { ticket: t, cohort: vec![client(0), client(1)] }),
        recorded(1, accepted_row(1, t)),
        recorded(2, Row::RoundClosing { ticket: t }),
    ];
    let (mut story, effects) = resumed(settings(1, 2, 1), &rows, 3);
    assert_eq!(effects, [Effect::Fold { client: client(1), ticket: t, weight: 10 }, Effect::Close { ticket: t }]);
    story.check(Event::Wake, &[]);
    // Client 0 comes too late: no further update counts since the closing was durable.
    let holding = Event::Joined { client: client(0), role: Role::Client, holding: Some(t) };
    story.check(holding, &[Effect::Cancel { client: client(0), ticket: t, reason: "the slot is lost".into() }]);
    story.check(Event::Closed { ticket: t }, &[Effect::Commit { ticket: t, version: Version(1), weight: 10 }]);
}

#[test]
fn a_simulated_population_is_offered_the_resumed_round_at_once() {
    let t = ticket(1, 0);
    let rows = [
        recorded(0, created()),
        recorded(0, Row::RoundOpened { ticket: t, cohort: vec![client(0), client(1)] }),
        recorded(1, accepted_row(1, t)),
    ];
    let mut effects = Vec::new();
    drop(Machine::resume(settings(1, 2, 1), Roster::simulated(10), &rows, Time(2_000_000_000), &mut effects));
    let fold = Effect::Fold { client: client(1), ticket: t, weight: 10 };
    assert_eq!(effects, [fold, offer(0, t, 0, Duration::from_secs(8))]);
}

/// What goes wrong without it: the round after a restart opens for the few who came back first, and the run's model is not
/// that of the run that was not interrupted.
#[test]
fn after_a_restart_the_next_round_waits_for_as_many_clients_as_the_first() {
    let (mut story, effects) = resumed(settings(1, 2, 1), &[recorded(0, created())], 3);
    assert_eq!(effects, []);
    story.check(Event::Wake, &[waiting(0, 2)]);
    story.check(joined(0), &[waiting(1, 2)]);
    let row = Row::RoundOpened { ticket: ticket(1, 0), cohort: vec![client(0), client(1)] };
    story.check(joined(1), &[Effect::Append { sequence: 1, row }]);
}

#[test]
fn a_resumed_machine_says_the_receipts_of_the_last_commit_again() {
    let t = ticket(1, 0);
    let rows = [
        recorded(0, created()),
        recorded(0, Row::RoundOpened { ticket: t, cohort: vec![client(0), client(1)] }),
        recorded(1, accepted_row(0, t)),
        recorded(2, Row::RoundClosing { ticket: t }),
        recorded(3, Row::ModelCommitted { ticket: t, version: Version(1), digest: digest(9), weight: 10 }),
    ];
    let (story, effects) = resumed(settings(2, 2, 1), &rows, 4);
    assert_eq!(effects, []);
    assert_eq!(story.machine.standing(&client(0), t), Standing::Counted(digest(0)));
    assert_eq!(
        story.machine.standing(&client(1), t),
        Standing::Closed("the work is over, version 1 is committed".into())
    );
}

/// What goes wrong without it: an update for a round that was taken back counts in the round that took its number.
#[test]
fn after_a_rollback_rounds_are_played_again_as_attempts_that_were_never_used() {
    let committed = |round, attempt, version| Row::ModelCommitted {
        ticket: ticket(round, attempt),
        version: Version(version),
        digest: digest(9),
        weight: 10,
    };
    let opened = |round, attempt| Row::RoundOpened { ticket: ticket(round, attempt), cohort: vec![client(0)] };
    let rows = [
        created(),
        opened(1, 0),
        accepted_row(0, ticket(1, 0)),
        committed(1, 0, 1),
        opened(2, 0),
        Row::RoundAborted { ticket: ticket(2, 0), missing: String::new() },
        opened(2, 1),
        accepted_row(0, ticket(2, 1)),
        committed(2, 1, 2),
        opened(3, 0),
        accepted_row(0, ticket(3, 0)),
        Row::RolledBack { version: Version(1) },
    ];
    let rows = rows.map(|row| recorded(1, row));
    let (mut story, effects) = resumed(settings(9, 1, 1), &rows, 2);
    assert_eq!((story.machine.version(), effects), (Version(1), vec![]));
    let row = |round, attempt| Row::RoundOpened { ticket: ticket(round, attempt), cohort: vec![client(0)] };
    let holding = Event::Joined { client: client(0), role: Role::Client, holding: Some(ticket(3, 0)) };
    let reason = "the work is over, version 1 is committed".to_owned();
    let cancel = Effect::Cancel { client: client(0), ticket: ticket(3, 0), reason };
    story.check(holding, &[cancel, Effect::Append { sequence: 12, row: row(2, 2) }]);
    for event in [
        Event::Appended { sequence: 12 },
        staged(0, ticket(2, 2)),
        Event::Appended { sequence: 13 },
        Event::Appended { sequence: 14 },
        Event::Closed { ticket: ticket(2, 2) },
        Event::Committed { version: Version(2), digest: digest(8) },
    ] {
        story.step(event);
    }
    let effects = story.step(Event::Appended { sequence: 15 });
    assert_eq!(effects[1..], [Effect::Append { sequence: 16, row: row(3, 1) }]);
}

/// A run of two rounds whose first is committed; client 0 is its cohort.
fn committed_once() -> Vec<Recorded> {
    let t = ticket(1, 0);
    vec![
        recorded(0, created()),
        recorded(1, Row::RoundOpened { ticket: t, cohort: vec![client(0)] }),
        recorded(2, accepted_row(0, t)),
        recorded(2, Row::RoundClosing { ticket: t }),
        recorded(3, Row::ModelCommitted { ticket: t, version: Version(1), digest: digest(9), weight: 10 }),
    ]
}

fn finished_once() -> Report {
    let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
    let (ticket, version, digest) = (ticket(1, 0), Version(1), digest(9));
    Report::Finished { ticket, version, clients: 1, weight: 10, digest, opened: at(1), committed: at(3) }
}

const MEASURED: Evaluation = Evaluation { every: 1, clients: true, central: true, deadline: Duration::from_secs(5) };

fn measure_offer(who: ClientId, left: u64) -> Effect {
    let (ticket, version) = (Ticket::Evaluate { version: Version(1) }, Version(1));
    Effect::Offer { client: who, ticket, slot: SlotId(0), version, left: Duration::from_secs(left) }
}

/// What goes wrong without it: a kill between a commit and its evaluation loses the round's measures, and a stop target
/// that they reach is passed over.
#[test]
fn a_resumed_machine_measures_what_was_committed_and_not_told() {
    let mut settings = settings(2, 1, 1);
    settings.evaluate = Some(MEASURED);
    let rows = committed_once();
    let (mut story, mut effects) = resumed(settings.clone(), &rows, 4);
    let (none, served) = (BTreeSet::new(), BTreeSet::from([Version(1)]));
    story.machine.tell_again(story.now, &rows, &none, &served, &mut effects);
    assert_eq!(effects, []);
    let lacks = |joined| Effect::Publish(Report::Waiting { joined, needed: 1, lacks_evaluator: true });
    story.check(Event::Wake, &[lacks(0)]);
    story.check(joined(0), &[measure_offer(client(0), 5), lacks(1)]);
    let judge: ClientId = "judge".parse().unwrap();
    let comes = Event::Joined { client: judge.clone(), role: Role::Evaluator, holding: None };
    story.check(comes, &[measure_offer(judge.clone(), 5)]);
    let t = Ticket::Evaluate { version: Version(1) };
    story.check(Event::Evaluated { client: client(0), ticket: t }, &[]);
    // Enough are here: who comes now is not asked any more.
    story.check(joined(1), &[]);
    let row = Row::RoundOpened { ticket: ticket(2, 0), cohort: vec![client(0), client(1)] };
    story.check(
        Event::Evaluated { client: judge, ticket: t },
        &[Effect::Publish(finished_once()), Effect::Append { sequence: 5, row }],
    );
    // What was told is not told again.
    let (mut story, mut effects) = resumed(settings, &rows, 4);
    story.machine.tell_again(story.now, &rows, &served, &served, &mut effects);
    assert_eq!(effects, []);
    story.check(Event::Wake, &[lacks(0)]);
    story.check(joined(0), &[lacks(1)]);
}

/// What goes wrong without it: a run whose last version nobody comes back to measure does not end.
#[test]
fn what_nobody_comes_back_to_measure_is_told_at_the_deadline() {
    let mut settings = settings(1, 1, 1);
    settings.evaluate = Some(MEASURED);
    let rows = committed_once();
    let (mut story, mut effects) = resumed(settings.clone(), &rows, 4);
    let (none, served) = (BTreeSet::new(), BTreeSet::from([Version(1)]));
    story.machine.tell_again(story.now, &rows, &none, &served, &mut effects);
    story.step(Event::Wake);
    assert_eq!(story.machine.wake_at(), Some(Time::ZERO + Duration::from_secs(9)));
    story.now = Time::ZERO + Duration::from_secs(9);
    let end = [Effect::Publish(finished_once()), Effect::Stop { reason: Reason::Rounds }];
    story.check(Event::Wake, &end);
    // A version that cannot be fetched any more is told as it is.
    let (mut story, mut effects) = resumed(settings, &rows, 4);
    story.machine.tell_again(story.now, &rows, &none, &none, &mut effects);
    assert_eq!(effects, [Effect::Publish(finished_once())]);
    story.check(Event::Wake, &[Effect::Stop { reason: Reason::Rounds }]);
}

/// What goes wrong without it: a stop while a version is measured tells the round without its measures, for good.
#[test]
fn a_pause_leaves_what_is_not_measured_to_the_next_process() {
    let mut story = open(2, 1);
    let t = ticket(1, 0);
    story.machine.settings.evaluate = Some(MEASURED);
    for event in [staged(0, t), staged(1, t), Event::Appended { sequence: 3 }, Event::Appended { sequence: 4 }] {
        story.step(event);
    }
    story.step(Event::Closed { ticket: t });
    story.step(Event::Committed { version: Version(1), digest: digest(9) });
    story.check(Event::Appended { sequence: 5 }, &[measure_offer(client(0), 5), measure_offer(client(1), 5)]);
    let evaluate = Ticket::Evaluate { version: Version(1) };
    let reason = Reason::Suspended.to_string();
    let cancel = |index| Effect::Cancel { client: client(index), ticket: evaluate, reason: reason.clone() };
    story.check(Event::StopAsked, &[cancel(0), cancel(1), Effect::Stop { reason: Reason::Suspended }]);
}

/// What goes wrong without it: one client that never comes back after a restart stops the run for ever.
#[test]
fn after_a_restart_nobody_is_waited_for_longer_than_a_round_may_take() {
    let rows = committed_once();
    let mut settings = settings(2, 3, 1);
    settings.evaluate = Some(Evaluation { clients: false, ..MEASURED });
    let told = BTreeSet::from([Version(1)]);
    let (mut story, mut effects) = resumed(settings, &rows, 4);
    story.machine.tell_again(story.now, &rows, &told, &told, &mut effects);
    let lacks = |joined| Effect::Publish(Report::Waiting { joined, needed: 3, lacks_evaluator: true });
    story.check(Event::Wake, &[lacks(0)]);
    story.check(joined(0), &[lacks(1)]);
    assert_eq!(story.machine.wake_at(), Some(Time::ZERO + Duration::from_secs(14)));
    story.now = Time::ZERO + Duration::from_secs(14);
    let row = Row::RoundOpened { ticket: ticket(2, 0), cohort: vec![client(0)] };
    story.check(Event::Wake, &[Effect::Append { sequence: 5, row }]);
    // A run that never opened a round waits as at its first start: for as long as it takes.
    let (mut story, _) = resumed(super::settings(2, 3, 1), &rows[..1], 4);
    story.check(Event::Wake, &[waiting(0, 3)]);
    assert_eq!(story.machine.wake_at(), None);
}
