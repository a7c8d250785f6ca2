//! Whether a run file can be read, and what its run keeps on disk.

use std::path::Path;

use super::Finding;
use crate::arguments::{program, quoted};
use crate::file::RunFile;
use crate::output::bytes;

const CHECK: &str = "run file";

/// The finding, and the bytes of models and updates that the run may hold at once.
pub(super) fn check(path: &Path, set: &[String]) -> (Finding, u64) {
    let file = match RunFile::read(path, set) {
        Ok(file) => file,
        Err(failure) => {
            let fix = failure
                .hint
                .unwrap_or_else(|| format!("change the file; `{} list` prints what it may hold", program()));
            return (Finding::fail(CHECK, failure.text, fix), 0);
        }
    };
    let strategy = &file.strategy;
    let model = strategy.model.layout.bytes() as u64;
    let cohort = strategy.rounds.cohort.of(strategy.rounds.wait_for.max(1)) as u64;
    // Those kept, the best one, the one being written; an update of each member of a cohort until it is folded.
    let run_bytes = model.saturating_mul(strategy.keep_models as u64 + 2 + cohort);
    let found = format!(
        "`{}`: {} rounds, model of {}; `{} check {}` tells more",
        strategy.name,
        strategy.rounds.rounds,
        bytes(model),
        program(),
        quoted(&path.display().to_string())
    );
    (Finding::ok(CHECK, found), run_bytes)
}
