//! A coordinator that loses power and is back some seconds later: how soon its clients know.

use std::time::Duration;

use super::network::Link;
use super::scenario::{CLIENTS, Federation, KEEP_ALIVE, play_in};
use super::weather::{Trouble, Weather};

/// In the first round, when every client has joined, also one that had to try again, and none has finished.
const CRASH: Duration = Duration::from_secs(5);

/// One way through the network.
const LATENCY: Duration = Duration::from_millis(50);

/// Clients of the crowd, and how long its coordinator is away, in seconds.
const CROWD: usize = 500;
const AWAY: u64 = 5;

/// Plays a coordinator that loses power and is `away` for so many seconds: each client notices within a keep-alive and a
/// round trip of its return.
fn check(federation: &Federation, clients: usize, away: u64) {
    let down = Duration::from_secs(away);
    let weather = Weather {
        clients,
        rounds: 1,
        link: Link { loss: 0.0, duplicated: 0.0, corrupted: 0.0, latency: LATENCY, jitter: Duration::ZERO },
        training: Duration::from_secs(60),
        disk: Duration::ZERO,
        troubles: vec![(CRASH, Trouble::CoordinatorCrash { down })],
    };
    let played = play_in(federation, away, weather);
    let back = CRASH + down;
    assert_eq!(played.lost.len(), clients, "{away} s: {:?}", played.lost);
    for (at, reason) in played.lost {
        assert!(reason.contains("reset"), "{away} s: {reason}");
        let after = at.checked_sub(back).expect("nobody is told before it is back");
        assert!(after <= KEEP_ALIVE + 2 * LATENCY, "after {away} s away it was noticed {after:?} later");
    }
}

/// What goes wrong without it: the probes of QUIC grow apart, and a client sits in front of a coordinator that is back for
/// as long as it was away.
#[test]
fn a_coordinator_is_noticed_within_a_keep_alive_however_long_it_was_away() {
    let federation = Federation::new(CLIENTS);
    (1..=12).for_each(|away| check(&federation, CLIENTS, away));
}

/// What goes wrong without it: a coordinator that is back answers the first of a crowd, and the others wait.
#[test]
fn a_coordinator_that_is_back_is_noticed_by_each_of_500_clients_within_a_keep_alive() {
    check(&Federation::new(CROWD), CROWD, AWAY);
}
