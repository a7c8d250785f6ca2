//! Many seeds on all cores, and what is said of one that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Disk;
use super::fault::Tally;
use super::world::World;

/// Plays one run, or many: `TRIBUTARY_SEED` names the one, `TRIBUTARY_FIRST_SEED` and `TRIBUTARY_ROUNDS` the many.
const COMMAND: &str = "cargo test --release --workspace --lib whole_runs_under_faults -- --nocapture";

/// Lines of a failed run that are shown.
const LINES: usize = 60;

/// A seed that showed something wrong.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) seed: u64,
    /// What the oracle, or an assertion of the product, said.
    pub(super) why: String,
}

/// Plays the run of `seed`.
pub(super) fn play(seed: u64) -> Result<Tally, Failure> {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, Disk::default(), false);
        world.play();
        world.into_parts().0
    }));
    played.map_err(|why| Failure { seed, why: words(&*why) })
}

/// Plays the run of `seed` and keeps what happened, with what went wrong, if something did.
pub(super) fn replay(seed: u64, disk: Disk) -> (Vec<String>, Option<String>) {
    let mut world = World::new(seed, disk, true);
    let why = catch_unwind(AssertUnwindSafe(|| world.play())).err().map(|why| words(&*why));
    (world.trace().to_vec(), why)
}

/// Plays seeds from `first` on until `rounds` rounds have ended, on all cores. The first failure ends it.
pub(super) fn run(first: u64, rounds: u64) -> Result<(Tally, u64), Failure> {
    let next = AtomicU64::new(first);
    let found = Mutex::new((Tally::default(), None::<Failure>));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let played = play(next.fetch_add(1, Ordering::Relaxed));
                    let mut found = found.lock().expect("nobody panics with it");
                    match played {
                        Ok(tally) => found.0.add(&tally),
                        Err(failure) => found.1 = Some(failure),
                    }
                    if found.1.is_some() || found.0.rounds() >= rounds {
                        return;
                    }
                }
            });
        }
    });
    let (tally, failure) = found.into_inner().expect("nobody panics with it");
    failure.map_or(Ok((tally, next.into_inner() - first)), Err)
}

/// The message for people: what went wrong, how to see it again, and the end of what happened.
pub(super) fn story(failure: &Failure) -> String {
    let (lines, _) = replay(failure.seed, Disk::default());
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    let Failure { seed, why } = failure;
    format!("seed {seed}: {why}\nreplay it: TRIBUTARY_SEED={seed} {COMMAND}\n{last}")
}

fn words(why: &(dyn std::any::Any + Send)) -> String {
    let text = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
