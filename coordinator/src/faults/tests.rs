//! The tests: so many rounds without a violation, every fault struck, replays are identical, the disk is like the real one.

use super::campaign::{self, replay, story};
use super::disk::Disk;
use super::fault::Fault;

/// Rounds in the short form, a few seconds; `.ci/run` asks for 100,000.
const ROUNDS: u64 = 20_000;

/// Seeds that are played twice.
const REPLAYS: u64 = 50;

#[expect(clippy::disallowed_methods, reason = "how long, and from which seed on, is said from outside")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

/// What goes wrong without it: an acknowledged update is lost, or counts twice, after a crash, a cut and a lie in an order
/// that nobody thought of.
#[test]
fn whole_runs_under_faults_keep_every_promise() {
    if let Some(seed) = number("TRIBUTARY_SEED") {
        let (lines, why) = replay(seed, Disk::default());
        eprintln!("{}", lines.join("\n"));
        assert_eq!(why, None, "seed {seed}");
        return;
    }
    let (first, rounds) = (number("TRIBUTARY_FIRST_SEED").unwrap_or(0), number("TRIBUTARY_ROUNDS").unwrap_or(ROUNDS));
    let (tally, seeds) = campaign::run(first, rounds).unwrap_or_else(|failure| panic!("{}", story(&failure)));
    eprintln!("{seeds} runs, {} rounds: {tally}", tally.rounds());
    let absent: Vec<_> = Fault::ALL.into_iter().filter(|fault| tally.of(*fault) == 0).collect();
    assert!(absent.is_empty(), "a harness that never brings {absent:?} proves nothing about it");
    assert!(tally.commits > tally.aborts, "most rounds get on: {tally}");
    assert!(tally.receipts > tally.commits && tally.detected > 0 && tally.restarts > 0, "{tally}");
    assert!(tally.bounded > 0, "nobody states more than its share: {tally}");
}

/// What goes wrong without it: a failing seed of last night shows nothing today.
#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in 0..REPLAYS {
        let (one, why) = replay(seed, Disk::default());
        assert!(one.len() > 20 && why.is_none(), "seed {seed}: {} lines, {why:?}", one.len());
        assert!(replay(seed, Disk::default()).0 == one, "seed {seed} tells another story");
    }
    assert_ne!(replay(0, Disk::default()).0, replay(1, Disk::default()).0);
}

/// What goes wrong without it: the simulated disk promises what the real journal does not keep.
#[test]
fn the_simulated_disk_and_the_real_journal_hold_the_same() {
    for seed in 0..REPLAYS {
        let (lines, why) = replay(seed, Disk::with_mirror());
        assert_eq!(why, None, "seed {seed}");
        assert!(lines == replay(seed, Disk::default()).0, "seed {seed} goes another way over the real journal");
    }
}
