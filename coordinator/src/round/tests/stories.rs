//! Stories of rounds: every effect is named, in order.

use std::time::Duration;

use tributary_common::Digest;
use tributary_common::id::{ClientId, Slot as SlotId, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::time::Time;

use super::super::{
    ATTEMPTS_MAX, CohortSize, Effect, Evaluation, Event, Fate, Loss, Machine, Reason, Report, Roster, Row, Settings,
    Slot, Standing, WEIGHT_MAX,
};
use super::{DEADLINE, Story, client, created, joined, opened, settings, ticket};

pub(super) fn offer(index: usize, ticket: Ticket, version: u64, left: Duration) -> Effect {
    let slot = SlotId(u32::try_from(index).unwrap());
    Effect::Offer { client: client(index), ticket, slot, version: Version(version), left }
}

pub(super) fn digest(index: usize) -> Digest {
    Digest([u8::try_from(index).unwrap(); 32])
}

pub(super) fn staged(index: usize, ticket: Ticket) -> Event {
    Event::Staged { client: client(index), ticket, weight: 10, digest: digest(index) }
}

pub(super) fn accepted_row(index: usize, ticket: Ticket) -> Row {
    Row::UpdateAccepted { ticket, client: client(index), weight: 10, digest: digest(index) }
}

pub(super) fn fold_and_receipt(index: usize, ticket: Ticket) -> [Effect; 2] {
    let (client, digest) = (client(index), digest(index));
    [Effect::Fold { client: client.clone(), ticket, weight: 10 }, Effect::Receipt { client, ticket, digest }]
}

fn folded(index: usize) -> Slot {
    Slot::Folded { weight: 10, digest: digest(index) }
}

pub(super) fn waiting(joined: usize, needed: usize) -> Effect {
    Effect::Publish(Report::Waiting { joined, needed, lacks_evaluator: false })
}

/// A round of clients 0 and 1 whose offers are out; the next row has number 2.
pub(super) fn open(rounds: u64, quorum: usize) -> Story {
    let mut story = Story::new(settings(rounds, 2, quorum));
    story.check(Event::Appended { sequence: 0 }, &[waiting(0, 2)]);
    story.check(joined(0), &[waiting(1, 2)]);
    let row = opened(ticket(1, 0), 2);
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
    let row = opened(ticket(1, 1), 2);
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
            let Some(Effect::Stop { reason: Reason::QuorumMissed { missing, .. } }) = effects.last() else {
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
    let holding = Event::Joined { client: client(0), role: Role::Client, holding: Some(t), weight: 1 };
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
    let judge = Event::Joined { client: "judge".parse().unwrap(), role: Role::Evaluator, holding: None, weight: 1 };
    let row = opened(ticket(1, 0), 1);
    story.check(judge, &[Effect::Append { sequence: 1, row }]);
}

#[test]
fn central_evaluation_overlaps_the_next_round_and_its_line_waits() {
    let mut settings = settings(2, 1, 1);
    settings.evaluate = Some(Evaluation { every: 1, clients: false, central: true, deadline: Duration::from_secs(5) });
    let mut story = Story::new(settings);
    let evaluator: ClientId = "judge".parse().unwrap();
    story.step(Event::Appended { sequence: 0 });
    story.step(Event::Joined { client: evaluator.clone(), role: Role::Evaluator, holding: None, weight: 1 });
    story.step(joined(0));
    story.step(Event::Appended { sequence: 1 });
    story.step(staged(0, ticket(1, 0)));
    story.step(Event::Appended { sequence: 2 });
    story.step(Event::Appended { sequence: 3 });
    story.step(Event::Closed { ticket: ticket(1, 0) });
    story.step(Event::Committed { version: Version(1), digest: digest(9) });
    let measure = Ticket::Evaluate { version: Version(1) };
    let row = opened(ticket(2, 0), 1);
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
    let row = opened(ticket(2, 0), 1);
    assert!(matches!(effects[0], Effect::Publish(Report::Finished { .. })), "{effects:?}");
    assert_eq!(effects[1..], [Effect::Append { sequence: 5, row }]);
    assert!(!story.machine.expects(&client(0), measure));
    story.check(Event::TargetReached, &[]);
    story.check(Event::Appended { sequence: 5 }, &[Effect::Stop { reason: Reason::Target }]);
}

/// What goes wrong without it: clients throw away what they have finished and stop what they have begun, while the round
/// that waits for it stays open.
#[test]
fn a_pause_cancels_nothing_because_the_next_process_waits_for_it() {
    let t = ticket(1, 0);
    for (event, reason) in [
        (Event::StopAsked, Reason::Suspended),
        (Event::StoreFailed { reason: "disk full".into() }, Reason::StoreFailed { reason: "disk full".into() }),
    ] {
        let mut story = open(1, 2);
        story.check(staged(0, t), &[Effect::Append { sequence: 2, row: accepted_row(0, t) }]);
        story.check(Event::Appended { sequence: 2 }, &fold_and_receipt(0, t));
        story.check(event, &[Effect::Stop { reason }]);
        // What comes after it is the next process's to judge.
        story.check(staged(1, t), &[]);
        story.check(Event::Refused { client: client(1), ticket: t, reason: "no".into() }, &[]);
        story.check(Event::Appended { sequence: 3 }, &[]);
        assert_eq!(story.machine.wake_at(), None);
    }
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
    let row = opened(ticket(2, 0), 1);
    let holding = Event::Joined { client: client(0), role: Role::Client, holding: Some(t), weight: 1 };
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

/// What goes wrong without it: a full disk of the coordinator costs its clients their slots, and the operator is told to ask
/// for fewer of them.
#[test]
fn what_the_coordinator_does_not_take_keeps_its_slot_until_the_deadline_which_says_why() {
    let t = ticket(1, 0);
    let postponed =
        |index| Event::Postponed { client: client(index), ticket: t, reason: "the disk is full".to_owned() };
    let mut story = open(1, 2);
    story.check(postponed(0), &[]);
    assert_eq!(story.machine.standing(&client(0), t), Standing::Open);
    story.check(staged(0, t), &[Effect::Append { sequence: 2, row: accepted_row(0, t) }]);
    story.check(Event::Appended { sequence: 2 }, &fold_and_receipt(0, t));
    story.check(postponed(1), &[]);
    story.now = Time::ZERO + DEADLINE;
    let effects = story.step(Event::Wake);
    let missing = "1 of 2 updates came, 2 are needed; not taken: client-001 (the disk is full)".to_owned();
    let aborted = Effect::Append { sequence: 3, row: Row::RoundAborted { ticket: t, missing } };
    assert_eq!(effects.last(), Some(&aborted));
    let lost = Slot::Lost(Loss::NotTaken("the disk is full".to_owned()));
    let Effect::Publish(Report::Closed { fates, .. }) = &effects[1] else { panic!("{effects:?}") };
    assert_eq!(fates[1].slot, lost);
    // The last attempt's loss is no end: the next process finds the run as it is.
    story.machine.n_failed = 2;
    let effects = story.step(Event::Appended { sequence: 3 });
    let Some(Effect::Stop { reason: reason @ Reason::Postponed { missing } }) = effects.last() else {
        panic!("{effects:?}")
    };
    assert!(reason.is_pause() && missing.contains("the disk is full"), "{reason}");
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
    let row = opened(ticket(1, 1), 2);
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
