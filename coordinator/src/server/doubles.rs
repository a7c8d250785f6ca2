//! Identities that are in use from two places at once: two connections of one member that take each other's place again and
//! again. Each is let in, because the newer one is right where a network changed; but then there is one that comes back.
//!
//! There is no clock in here: whoever asks says what time it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tributary_common::id::ClientId;

/// Live connections that were replaced in a row before the operator hears of it; from then on at each doubling.
const SUSPICIOUS: u32 = 4;

/// A row ends after so long without another one. A client that was replaced waits less than that before it comes back.
const ROW_ENDS: Duration = Duration::from_secs(60);

/// Counts by member. Only the authority makes members, so that nobody fills this with made-up names.
#[derive(Debug)]
pub(super) struct Doubles {
    rows: BTreeMap<ClientId, Row>,
    /// From so many on, those whose row has ended are forgotten.
    members: usize,
}

#[derive(Debug)]
struct Row {
    last: Duration,
    replaced: u32,
    /// At how many it is said next; it is never less than before, so that what is said has an end.
    next: u32,
}

impl Doubles {
    pub(super) const fn new(members: usize) -> Self {
        Self { rows: BTreeMap::new(), members }
    }

    /// A connection of `client` that was alive, from `old`, was replaced at `at`, which must not go backwards, by one from
    /// `new`; what to tell the operator, if anything.
    pub(super) fn replaced(
        &mut self,
        at: Duration,
        client: &ClientId,
        (old, new): (SocketAddr, SocketAddr),
    ) -> Option<String> {
        if self.rows.len() >= self.members && !self.rows.contains_key(client) {
            self.rows.retain(|_, row| at.saturating_sub(row.last) <= ROW_ENDS);
        }
        let begin = Row { last: at, replaced: 0, next: SUSPICIOUS };
        let row = self.rows.entry(client.clone()).or_insert(begin);
        if at.saturating_sub(row.last) > ROW_ENDS {
            row.replaced = 0;
        }
        row.last = at;
        row.replaced = row.replaced.saturating_add(1);
        if row.replaced < row.next {
            return None;
        }
        row.next = row.next.saturating_mul(2);
        Some(format!(
            "the identity seems to be in use from two places at once, {} and {}: {} connections in a row took the place of \
             one another; give each device an identity of its own",
            old.ip(),
            new.ip(),
            row.replaced
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (SocketAddr, SocketAddr) {
        ("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:2000".parse().unwrap())
    }

    /// What goes wrong without it: two devices with one identity keep each other from all work, and nobody knows.
    #[test]
    fn connections_that_replace_each_other_are_told_a_few_times_with_their_addresses() {
        let mut doubles = Doubles::new(10);
        let [a, b]: [ClientId; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        let told: Vec<_> = (0..1000)
            .filter(|n| doubles.replaced(Duration::from_secs(*n), &a, ends()).is_some())
            .map(|n| n + 1)
            .collect();
        assert_eq!(told, [4, 8, 16, 32, 64, 128, 256, 512]);
        // A network that changes now and then is none of that, and another member is not concerned.
        for n in 0..100 {
            let at = 1000 * Duration::from_secs(1) + n * (ROW_ENDS + Duration::from_secs(1));
            assert_eq!(doubles.replaced(at, &b, ends()), None);
        }
        let text = Doubles::new(1).told_at_last(&a);
        assert!(text.contains("192.0.2.1 and 192.0.2.2: 4 connections in a row"), "{text}");
    }

    impl Doubles {
        fn told_at_last(&mut self, client: &ClientId) -> String {
            (0..SUSPICIOUS).find_map(|_| self.replaced(Duration::ZERO, client, ends())).unwrap()
        }
    }

    #[test]
    fn members_that_are_quiet_are_forgotten() {
        let mut doubles = Doubles::new(3);
        for n in 0..100 {
            let at = 2 * ROW_ENDS * u32::try_from(n).unwrap();
            doubles.replaced(at, &ClientId::simulated(n, 100), ends());
            assert!(doubles.rows.len() <= 3);
        }
    }
}
