//! Free space where the run's folder is, or would be.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::output::bytes;

const CHECK: &str = "disk";

/// Journal, events and report of a long run, in bytes; models and updates come on top.
const RECORDS_BYTES: u64 = 256 << 20;

/// Below so many times what is needed, somebody should look soon.
const COMFORT: u64 = 4;

/// Compares with what a run of `run_bytes` for models and updates takes.
pub(super) fn check(folder: &Path, run_bytes: u64) -> Finding {
    let there = existing(folder);
    let place = format!("for `{}`", folder.display());
    match free(&there) {
        Ok(free) => judge(&place, free, run_bytes.saturating_add(RECORDS_BYTES)),
        Err(error) => Finding::fail(
            CHECK,
            format!("could not ask for the free space {place}: {error}"),
            "give a folder that this user can reach with --out",
        ),
    }
}

/// Bytes that this user may still write where a folder is.
pub(in crate::command) fn free(folder: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn judge(place: &str, free: u64, needed: u64) -> Finding {
    let found = format!("{} free {place}, a run takes about {}", bytes(free), bytes(needed));
    let fix = "free some space, or choose another disk with --out";
    match free {
        free if free < needed => Finding::fail(CHECK, found, fix),
        free if free < needed.saturating_mul(COMFORT) => Finding::warn(CHECK, found, fix),
        _ => Finding::ok(CHECK, found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_disk_that_a_run_would_fill_fails() {
        let verdict = |free| judge("here", free, 100).verdict;
        assert_eq!([99, 100, 399, 400].map(verdict), [Verdict::Fail, Verdict::Warn, Verdict::Warn, Verdict::Ok]);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("runs/7")), folder.path());
        assert_eq!(check(&folder.path().join("runs/7"), u64::MAX).verdict, Verdict::Fail);
    }
}
