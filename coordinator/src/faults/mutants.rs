//! Whether the harness sees: every planted bug is found from outside, by the seed and in the words that the page tells.

use super::campaign::{Failure, play};
use crate::planted::Bug;

/// Seeds that are tried for one bug.
const SEEDS_MAX: u64 = 2_000;

/// The first seed that shows `bug`, and how.
fn found(bug: Bug) -> Failure {
    let seen = bug.plant(|| (0..SEEDS_MAX).find_map(|seed| play(seed).err()));
    seen.unwrap_or_else(|| panic!("{bug:?} goes unnoticed through {SEEDS_MAX} seeds"))
}

/// The page's row on `bug`: its seed, and words of what is said.
fn told(page: &str, bug: Bug) -> (u64, String) {
    let begin = format!("| `{bug:?}` |");
    let row = page.lines().find(|line| line.starts_with(&begin));
    let columns: Vec<_> = row.map(|row| row.split('|').map(str::trim).collect()).unwrap_or_default();
    let [_, _, _, seed, words, _] = columns[..] else { panic!("docs/reliability.md has no row on {bug:?}") };
    (seed.parse().expect("a row names a seed"), words.to_owned())
}

/// What goes wrong without it: the harness passes whatever the coordinator does.
#[test]
fn every_planted_bug_is_found_from_outside_as_the_page_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md"));
    let page = page.expect("the page is beside the code");
    let threads: Vec<_> = Bug::ALL.into_iter().map(|bug| std::thread::spawn(move || (bug, found(bug)))).collect();
    let mut differences = Vec::new();
    for thread in threads {
        let (bug, Failure { seed, why }) = thread.join().expect("each bug is found");
        let (told, words) = told(&page, bug);
        if seed != told || !why.contains(&words) {
            differences.push(format!("{bug:?}: seed {seed} instead of {told}: {why} (`{words}`)"));
        }
    }
    assert!(differences.is_empty(), "docs/reliability.md tells otherwise:\n{}", differences.join("\n"));
}
