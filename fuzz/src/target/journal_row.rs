//! Rows of a journal, as they come from a disk that may have changed anything.

use tributary_common::Digest;
use tributary_coordinator::store::journal::{Body, Columns, Entry};

use super::Target;
use crate::Source;

pub(super) const TARGET: Target = Target {
    name: "journal_row",
    help: "rows of a journal, from a disk",
    input_bytes_max: 64 * 1024,
    heap_bytes_max: 64 * 1024,
    // A client of a cohort is three bytes of JSON and a name of its own in memory, read twice and written once.
    heap_bytes_per_byte: 96,
    run,
};

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let (sequence, epoch, previous) = (source.number(), source.number(), Digest([source.byte(); 32]));
    let text = String::from_utf8_lossy(source.rest());
    let columns = |hash| Columns { sequence: sequence.cast_signed(), epoch: epoch.cast_signed(), body: &text, hash };
    // Nobody finds a text that fits this hash.
    let hash = [7; 32];
    assert!(Entry::read(sequence, previous, columns(&hash)).is_err(), "a hash from outside continues no chain");
    let Ok(body) = serde_json::from_str::<Body>(&text) else { return };
    let (entry, text) = Entry::new(previous, sequence, epoch, body);
    let columns = Columns { body: &text, hash: &entry.hash.0, ..columns(&hash) };
    let read = Entry::read(sequence, previous, columns);
    match (i64::try_from(sequence), i64::try_from(epoch)) {
        (Ok(_), Ok(_)) => assert_eq!(read.as_ref(), Ok(&entry), "a row is read as it was written"),
        _ => assert!(read.is_err(), "numbers that no table holds are refused"),
    }
}
