//! Run files: an operator's, and the plan that a coordinator sends to its clients, which is one.

use tributary_client::plan::Plan;
use tributary_common::config::{Document, RUN_FILE_BYTES_MAX};
use tributary_coordinator::Strategy;

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "run_file",
    help: "run files, and the plan in a coordinator's welcome",
    input_bytes_max: RUN_FILE_BYTES_MAX + 1024,
    heap_bytes_max: 256 * 1024,
    // An empty table of an array takes three bytes of text, and a node of the parser, of ours and of the canonical form.
    heap_bytes_per_byte: 1024,
    run,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(document) = Document::parse("fuzz.toml", &text) else { return };
    let canonical = document.canonical(&["run", "input", "model", "stages", "train", "evaluate", "data"]);
    // What is sent to clients can be read by them.
    assert!(Document::parse("plan", &canonical).is_ok() || canonical.len() > RUN_FILE_BYTES_MAX, "{canonical}");
    let errors = [Strategy::parse(&document).err(), Plan::parse(&document).err()];
    for error in errors.into_iter().flatten() {
        assert!(!error.to_string().is_empty(), "an error has words");
    }
}
