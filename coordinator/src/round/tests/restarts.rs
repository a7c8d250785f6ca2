//! Stories of runs that another process goes on with: every effect is named, in order.

use std::collections::BTreeSet;
use std::time::Duration;

use tributary_common::id::{ClientId, Slot as SlotId, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::time::Time;

use super::super::{Effect, Evaluation, Event, Machine, Reason, Recorded, Report, Roster, Row, Settings, Standing};
use super::stories::{accepted_row, digest, fold_and_receipt, offer, open, staged, waiting};
use super::{Story, client, created, joined, opened, settings, ticket};

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
        recorded(0, opened(ticket(1, 0), 1)),
        recorded(1, accepted_row(0, ticket(1, 0))),
        recorded(1, Row::RoundClosing { ticket: ticket(1, 0) }),
        recorded(1, Row::ModelCommitted { ticket: ticket(1, 0), version: Version(1), digest: digest(9), weight: 10 }),
        recorded(2, opened(ticket(2, 0), 1)),
        recorded(3, Row::RoundAborted { ticket: ticket(2, 0), missing: String::new() }),
        recorded(4, opened(t, 3)),
        recorded(5, accepted_row(0, t)),
    ];
    let (mut story, effects) = resumed(settings(2, 3, 2), &rows, 6);
    let fold = |index| Effect::Fold { client: client(index), ticket: t, weight: 10 };
    assert_eq!((story.machine.version(), effects), (Version(1), vec![fold(0)]));
    assert_eq!(story.machine.wake_at(), Some(Time::ZERO + Duration::from_secs(14)), "opened at 4 s, 10 s long");
    story.check(Event::Wake, &[]);
    // Whoever was accepted gets the receipt, whoever holds an update gives it, whoever lost it trains again.
    let holding = |index, t| Event::Joined { client: client(index), role: Role::Client, holding: Some(t), weight: 1 };
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
    let opened = recorded(0, opened(t, 2));
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
        recorded(0, opened(t, 2)),
        recorded(1, accepted_row(1, t)),
        recorded(2, Row::RoundClosing { ticket: t }),
    ];
    let (mut story, effects) = resumed(settings(1, 2, 1), &rows, 3);
    assert_eq!(effects, [Effect::Fold { client: client(1), ticket: t, weight: 10 }, Effect::Close { ticket: t }]);
    story.check(Event::Wake, &[]);
    // Client 0 comes too late: no further update counts since the closing was durable.
    let holding = Event::Joined { client: client(0), role: Role::Client, holding: Some(t), weight: 1 };
    story.check(holding, &[Effect::Cancel { client: client(0), ticket: t, reason: "the slot is lost".into() }]);
    story.check(Event::Closed { ticket: t }, &[Effect::Commit { ticket: t, version: Version(1), weight: 10 }]);
}

#[test]
fn a_simulated_population_is_offered_the_resumed_round_at_once() {
    let t = ticket(1, 0);
    let rows = [recorded(0, created()), recorded(0, opened(t, 2)), recorded(1, accepted_row(1, t))];
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
    let row = opened(ticket(1, 0), 2);
    story.check(joined(1), &[Effect::Append { sequence: 1, row }]);
}

#[test]
fn a_resumed_machine_says_the_receipts_of_the_last_commit_again() {
    let t = ticket(1, 0);
    let rows = [
        recorded(0, created()),
        recorded(0, opened(t, 2)),
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
    let rows = [
        created(),
        opened(ticket(1, 0), 1),
        accepted_row(0, ticket(1, 0)),
        committed(1, 0, 1),
        opened(ticket(2, 0), 1),
        Row::RoundAborted { ticket: ticket(2, 0), missing: String::new() },
        opened(ticket(2, 1), 1),
        accepted_row(0, ticket(2, 1)),
        committed(2, 1, 2),
        opened(ticket(3, 0), 1),
        accepted_row(0, ticket(3, 0)),
        Row::RolledBack { version: Version(1) },
    ];
    let rows = rows.map(|row| recorded(1, row));
    let (mut story, effects) = resumed(settings(9, 1, 1), &rows, 2);
    assert_eq!((story.machine.version(), effects), (Version(1), vec![]));
    let row = |round, attempt| opened(ticket(round, attempt), 1);
    let holding = Event::Joined { client: client(0), role: Role::Client, holding: Some(ticket(3, 0)), weight: 1 };
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
        recorded(1, opened(t, 1)),
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

/// Resumes four seconds into the run and tells what was not told.
fn resumed_and_told(
    settings: Settings,
    rows: &[Recorded],
    told: &BTreeSet<Version>,
    served: &BTreeSet<Version>,
) -> (Story, Vec<Effect>) {
    let (mut story, mut effects) = resumed(settings, rows, 4);
    story.machine.tell_again(story.now, rows, told, served, &mut effects);
    (story, effects)
}

/// What goes wrong without it: a kill between a commit and its evaluation loses the round's measures, and a stop target
/// that they reach is passed over.
#[test]
fn a_resumed_machine_measures_what_was_committed_and_not_told() {
    let mut settings = settings(2, 1, 1);
    settings.evaluate = Some(MEASURED);
    let rows = committed_once();
    let (none, served) = (BTreeSet::new(), BTreeSet::from([Version(1)]));
    let (mut story, effects) = resumed_and_told(settings.clone(), &rows, &none, &served);
    assert_eq!(effects, []);
    let lacks = |joined| Effect::Publish(Report::Waiting { joined, needed: 1, lacks_evaluator: true });
    story.check(Event::Wake, &[lacks(0)]);
    story.check(joined(0), &[measure_offer(client(0), 5), lacks(1)]);
    let judge: ClientId = "judge".parse().unwrap();
    let comes = Event::Joined { client: judge.clone(), role: Role::Evaluator, holding: None, weight: 1 };
    story.check(comes, &[measure_offer(judge.clone(), 5)]);
    let t = Ticket::Evaluate { version: Version(1) };
    story.check(Event::Evaluated { client: client(0), ticket: t }, &[]);
    // Enough are here: who comes now is not asked any more.
    story.check(joined(1), &[]);
    let row = opened(ticket(2, 0), 2);
    story.check(
        Event::Evaluated { client: judge, ticket: t },
        &[Effect::Publish(finished_once()), Effect::Append { sequence: 5, row }],
    );
    // What was told is not told again.
    let (mut story, effects) = resumed_and_told(settings, &rows, &served, &served);
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
    let (none, served) = (BTreeSet::new(), BTreeSet::from([Version(1)]));
    let (mut story, _) = resumed_and_told(settings.clone(), &rows, &none, &served);
    story.step(Event::Wake);
    assert_eq!(story.machine.wake_at(), Some(Time::ZERO + Duration::from_secs(9)));
    story.now = Time::ZERO + Duration::from_secs(9);
    let end = [Effect::Publish(finished_once()), Effect::Stop { reason: Reason::Rounds }];
    story.check(Event::Wake, &end);
    // A version that cannot be fetched any more is told as it is.
    let (mut story, effects) = resumed_and_told(settings, &rows, &none, &none);
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
    story.check(Event::StopAsked, &[Effect::Stop { reason: Reason::Suspended }]);
}

/// What goes wrong without it: one client that never comes back after a restart stops the run for ever.
#[test]
fn after_a_restart_nobody_is_waited_for_longer_than_a_round_may_take() {
    let rows = committed_once();
    let mut settings = settings(2, 3, 1);
    settings.evaluate = Some(Evaluation { clients: false, ..MEASURED });
    let told = BTreeSet::from([Version(1)]);
    let (mut story, _) = resumed_and_told(settings, &rows, &told, &told);
    let lacks = |joined| Effect::Publish(Report::Waiting { joined, needed: 3, lacks_evaluator: true });
    story.check(Event::Wake, &[lacks(0)]);
    story.check(joined(0), &[lacks(1)]);
    assert_eq!(story.machine.wake_at(), Some(Time::ZERO + Duration::from_secs(14)));
    story.now = Time::ZERO + Duration::from_secs(14);
    let row = opened(ticket(2, 0), 1);
    story.check(Event::Wake, &[Effect::Append { sequence: 5, row }]);
    // A run that never opened a round waits as at its first start: for as long as it takes.
    let (mut story, _) = resumed(super::settings(2, 3, 1), &rows[..1], 4);
    story.check(Event::Wake, &[waiting(0, 3)]);
    assert_eq!(story.machine.wake_at(), None);
}
