//! What a journal promises: rows and updates are found again as they were, and every damage has a name.

use std::fs;
use std::io::Write;

use bytes::Bytes;
use tributary_common::id::{Attempt, ClientId, Round, RunId, Ticket, Version};
use tributary_common::parameters::{Dtype, Layout, Parameters};

use super::*;

const TICKET: Ticket = Ticket::Train { round: Round(1), attempt: Attempt(0) };

fn item(row: Row) -> Item {
    Item { recorded: Recorded { at: Time(1), row }, wall_ms: 0, brings: Brings::Nothing }
}

fn created() -> Row {
    Row::RunCreated { run: RunId([7; 16]), config: Digest([1; 32]), model: Digest([2; 32]) }
}

fn opened() -> Row {
    Row::RoundOpened { ticket: TICKET, cohort: (0..3).map(client).collect(), weight_max: None }
}

fn client(index: usize) -> ClientId {
    ClientId::simulated(index, 10)
}

/// An update of four coordinates, all of them `value`.
fn update(value: f32) -> Parameters {
    let layout = Layout::new([("w", Dtype::F32, vec![4])]).unwrap();
    Parameters::new(layout, Bytes::from([value.to_le_bytes(); 4].concat())).unwrap()
}

fn accepted(index: usize, update: &Parameters) -> Row {
    Row::UpdateAccepted { ticket: TICKET, client: client(index), weight: 10, digest: update.digest() }
}

fn in_memory(index: usize, value: f32) -> Item {
    let update = update(value);
    let brings = Brings::Update(Payload::Bytes(update.bytes().clone()));
    Item { brings, ..item(accepted(index, &update)) }
}

fn in_file(folder: &Path, index: usize, value: f32) -> Item {
    let update = update(value);
    let mut file = tempfile::NamedTempFile::new_in(updates_folder(folder)).unwrap();
    file.write_all(update.bytes()).unwrap();
    let (file, path) = file.into_parts();
    Item { brings: Brings::Update(Payload::File { file, path }), ..item(accepted(index, &update)) }
}

fn committed() -> Row {
    Row::ModelCommitted { ticket: TICKET, version: Version(1), digest: Digest([3; 32]), weight: 30 }
}

fn retained(optimizer: u8) -> Retained {
    Retained { optimizer: Digest([optimizer; 32]), kept_from: None }
}

/// A journal with one update in the segment and one in a file.
fn with_updates(folder: &Path) -> Journal {
    let mut journal = Journal::create(folder, Durability::Power).unwrap();
    let created = Item { brings: Brings::Version(retained(4)), ..item(created()) };
    journal.commit(vec![created, item(opened())], Time(1)).unwrap();
    let items = vec![in_memory(0, 0.5), in_file(folder, 1, 1.5)];
    journal.commit(items, Time(9)).unwrap();
    journal
}

fn values(update: &KeptUpdate) -> Vec<u8> {
    let mut bytes = Vec::new();
    update.read(|block| bytes.extend_from_slice(block)).unwrap();
    bytes
}

#[test]
fn another_process_finds_rows_clock_and_updates_and_writes_on_in_the_next_epoch() {
    let folder = tempfile::tempdir().unwrap();
    drop(with_updates(folder.path()));
    let (mut journal, found) = Journal::open(folder.path(), Durability::Power).unwrap();
    assert_eq!((found.entries.len(), found.at, journal.next()), (4, Time(9), 4));
    assert_eq!(found.updates.len(), 2);
    for (kept, value) in found.updates.iter().zip([0.5, 1.5]) {
        assert_eq!(values(kept), update(value).bytes()[..]);
        kept.check(update(value).layout()).unwrap();
    }
    journal.commit(vec![in_memory(2, 2.5)], Time(10)).unwrap();
    drop(journal);
    let found = Journal::look(folder.path()).unwrap();
    let epochs: Vec<_> = found.entries.iter().map(|entry| entry.epoch).collect();
    assert_eq!(epochs, [0, 0, 0, 0, 1]);
    assert_eq!(values(&found.updates[2]), update(2.5).bytes()[..]);
}

#[test]
fn updates_go_when_their_round_is_over_and_what_a_crash_left_goes_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = with_updates(folder.path());
    let names = |folder: &Path| fs::read_dir(updates_folder(folder)).unwrap().count();
    assert_eq!(names(folder.path()), 2);
    journal.commit(vec![Item { brings: Brings::Version(retained(5)), ..item(committed()) }], Time(2)).unwrap();
    assert_eq!(names(folder.path()), 0);
    drop(journal);
    fs::write(updates_folder(folder.path()).join("half-an-upload"), "x").unwrap();
    let (_journal, found) = Journal::open(folder.path(), Durability::Power).unwrap();
    assert_eq!((names(folder.path()), found.updates.len()), (0, 0));
    let version = Kept { version: Version(1), model: Digest([3; 32]), optimizer: Digest([5; 32]) };
    let initial = Kept { version: Version(0), model: Digest([2; 32]), optimizer: Digest([4; 32]) };
    assert_eq!(found.versions(), [initial, version]);
}

/// What goes wrong without it: two coordinators serve one run, each with half of the updates.
#[test]
fn only_one_process_writes_and_others_may_look() {
    let folder = tempfile::tempdir().unwrap();
    let journal = with_updates(folder.path());
    let second = Journal::open(folder.path(), Durability::Power).unwrap_err();
    assert!(matches!(second, Error::InUse(_)) && second.hint().is_some(), "{second}");
    assert_eq!(Journal::look(folder.path()).unwrap().entries.len(), 4);
    drop(journal);
    assert!(Journal::open(folder.path(), Durability::Power).is_ok());
}

#[test]
fn a_changed_a_missing_and_an_unreadable_row_are_named() {
    let damages = [
        ("UPDATE rows SET body = replace(body, 'client-001', 'client-009') WHERE sequence = 3", "row 3: its hash"),
        ("UPDATE rows SET epoch = 4 WHERE sequence = 1", "row 1: its hash"),
        ("DELETE FROM rows WHERE sequence = 2", "row 2: it is missing, row 3 follows"),
        ("UPDATE rows SET hash = zeroblob(32) WHERE sequence = 0", "row 0: its hash"),
        ("PRAGMA user_version = 7", "its format is 7, this version of the software reads 1"),
    ];
    for (damage, expected) in damages {
        let folder = tempfile::tempdir().unwrap();
        drop(with_updates(folder.path()));
        let tampered = rusqlite::Connection::open(folder.path().join(ROWS)).unwrap();
        tampered.execute_batch(damage).unwrap();
        drop(tampered);
        let error = Journal::open(folder.path(), Durability::Power).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Journal::look(empty.path()), Err(Error::NoRun(_))));
}

#[test]
fn a_damaged_and_a_shortened_update_are_named_with_their_client() {
    let folder = tempfile::tempdir().unwrap();
    drop(with_updates(folder.path()));
    let found = Journal::look(folder.path()).unwrap();
    let layout = std::sync::Arc::clone(update(0.0).layout());
    fs::write(&found.updates[0].path, [0; 16]).unwrap();
    let error = found.updates[0].check(&layout).unwrap_err();
    assert!(
        error.to_string().contains("the accepted update of client-000 for round 1 attempt 0: its digest"),
        "{error}"
    );
    fs::write(&found.updates[1].path, [0; 7]).unwrap();
    assert!(found.updates[1].check(&layout).unwrap_err().to_string().contains("client-001"));
}

/// What goes wrong without it: a row is said to be safe although the write before it never reached the disk.
#[test]
fn a_journal_that_failed_once_keeps_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = with_updates(folder.path());
    let broken = in_file(folder.path(), 2, 2.5);
    fs::remove_dir_all(updates_folder(folder.path())).unwrap();
    assert!(journal.commit(vec![broken], Time(2)).is_err());
    let error = journal.commit(vec![item(opened())], Time(3)).unwrap_err();
    assert!(error.to_string().contains("it failed before"), "{error}");
    assert_eq!(Journal::look(folder.path()).unwrap().entries.len(), 4);
}
