//! The real stack in a simulated network: coordinator and clients with QUIC, TLS, journal and outbox as they are, on one
//! thread and one virtual clock, while datagrams are lost and hosts crash.
//!
//! Why not turmoil: its hosts advance in ticks of their own runtimes, so that ten virtual minutes cost the same whether
//! anything happens or not, and it would be one more thing whose randomness has to be led by the seed. A socket and a
//! table of addresses are all that quinn needs.
//!
//! What a seed decides: who loses what, when who crashes, how long everything takes. What it does not decide, TLS keys and
//! connection ids, has a fixed size and so no influence on when what happens; [`scenario::play`] says what a trace holds.
//!
//! The long form: `TRIBUTARY_SEEDS=10000 cargo test --release --test network`; one seed: `TRIBUTARY_SEED=7`, with
//! `--nocapture` its trace.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]

mod host;
mod network;
mod oracle;
mod restart;
mod scenario;
mod weather;

use std::collections::BTreeMap;
use std::sync::Mutex;

use scenario::{Federation, Played};

/// Seeds of the short form.
const SEEDS: u64 = 300;

/// Of those, so many are played twice.
const REPLAYED: u64 = 50;

/// Threads that play seeds beside each other.
const THREADS: u64 = 2;

fn from_outside(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the length of a campaign comes from outside")]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Plays a seed, and names it if it fails.
fn play(federation: &Federation, seed: u64) -> Played {
    let played = std::panic::catch_unwind(|| scenario::play(federation, seed));
    played.unwrap_or_else(|_| panic!("replay with TRIBUTARY_SEED={seed}"))
}

/// Names where two plays of one seed part.
fn same(seed: u64, first: &Played, second: &Played) {
    let differs = first.trace.iter().zip(&second.trace).enumerate().find(|(_, (first, second))| first != second);
    assert_eq!(differs, None, "two plays of seed {seed} part");
    assert_eq!(first.trace.len(), second.trace.len(), "one play of seed {seed} is longer");
    assert_eq!(first.happened, second.happened, "datagrams of seed {seed} fared otherwise");
}

/// What goes wrong without it: an update counts twice, or one that was acknowledged does not count, after some order of
/// losses, delays, cuts and crashes that nobody thought of.
#[test]
fn whatever_the_network_does_what_is_acknowledged_counts_once() {
    let federation = Federation::new(scenario::CLIENTS);
    if let Some(seed) = from_outside("TRIBUTARY_SEED") {
        let played = play(&federation, seed);
        played.trace.iter().for_each(|line| println!("{line}"));
        return println!("{:?}", played.happened);
    }
    let n_seeds = from_outside("TRIBUTARY_SEEDS").unwrap_or(SEEDS);
    let totals = Mutex::new(BTreeMap::new());
    let lane = |lane: u64| {
        for seed in (lane..n_seeds).step_by(usize::try_from(THREADS).unwrap()) {
            let played = play(&federation, seed);
            if seed < REPLAYED {
                same(seed, &played, &play(&federation, seed));
            }
            let mut totals = totals.lock().unwrap();
            played.happened.into_iter().for_each(|(what, n)| *totals.entry(what).or_insert(0) += n);
        }
    };
    let lane = &lane;
    std::thread::scope(|scope| (0..THREADS).for_each(|index| drop(scope.spawn(move || lane(index)))));
    let totals = totals.into_inner().unwrap();
    println!("{totals:?}");
    // A kind of trouble that never came would prove nothing.
    for kind in scenario::KINDS {
        assert!(totals.get(kind).is_some_and(|n| *n >= n_seeds / 10), "`{kind}` hardly ever happened: {totals:?}");
    }
}
