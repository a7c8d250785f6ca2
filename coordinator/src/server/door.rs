//! Who of those that knock gets as far as a handshake. Anybody may knock, and a handshake costs both time and memory.
//!
//! There is no clock and no socket in here: whoever asks says what time it is and who is here already.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::bucket::Bucket;
use super::limits::Limits;

/// What becomes of one that knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The handshake begins.
    Come,
    /// It must prove first that its address is its own.
    Prove,
    /// It is sent away, by the limit of this name.
    Refuse(&'static str),
}

/// Who is here already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    /// Connections, those in the handshake included.
    pub(super) connections: usize,
    /// Those in the handshake.
    pub(super) half_open: usize,
}

/// Counts handshakes, in all and by address.
#[derive(Debug)]
pub(super) struct Door {
    limits: Limits,
    all: Bucket,
    addresses: BTreeMap<IpAddr, Bucket>,
    n_refused: u64,
}

impl Door {
    pub(super) fn new(limits: Limits) -> Self {
        let all = Bucket::full(limits.handshakes, Duration::ZERO);
        Self { limits, all, addresses: BTreeMap::new(), n_refused: 0 }
    }

    /// Judges one that knocks at `at`, which must not go backwards. An unproven address never empties the tokens of the
    /// one whose name it uses: it is asked for a proof once that many handshakes are under way.
    pub(super) fn knock(&mut self, at: Duration, address: IpAddr, is_proven: bool, crowd: Crowd) -> Entry {
        let entry = self.judge(at, network(address), is_proven, crowd);
        if let Entry::Refuse(limit) = entry {
            self.n_refused += 1;
            // The operator hears of a flood a few times, not as often as it knocks.
            if self.n_refused.is_power_of_two() {
                tracing::warn!("{} connections refused so far, the last one by the limit `{limit}`", self.n_refused);
            }
        }
        entry
    }

    fn judge(&mut self, at: Duration, address: IpAddr, is_proven: bool, crowd: Crowd) -> Entry {
        let Limits { connections, half_open, half_open_unproven, handshakes, handshakes_per_address, .. } = self.limits;
        self.all.fill(handshakes, at);
        self.make_room(at, address);
        let is_counted = self.addresses.len() < self.limits.addresses || self.addresses.contains_key(&address);
        let mut own = is_counted.then(|| {
            let bucket = || Bucket::full(handshakes_per_address, at);
            self.addresses.entry(address).or_insert_with(bucket)
        });
        if let Some(own) = &mut own {
            own.fill(handshakes_per_address, at);
        }
        let is_spent = own.as_ref().is_some_and(|own| own.is_empty());
        if crowd.connections >= connections {
            return Entry::Refuse("connections");
        }
        if !is_proven && (crowd.half_open >= half_open_unproven || is_spent) {
            return Entry::Prove;
        }
        if crowd.half_open >= half_open {
            return Entry::Refuse("half_open");
        }
        if is_spent {
            return Entry::Refuse("handshakes_per_address");
        }
        if self.all.is_empty() {
            return Entry::Refuse("handshakes");
        }
        self.all.tokens -= 1.0;
        if let Some(own) = own {
            own.tokens -= 1.0;
        }
        Entry::Come
    }

    /// Forgets addresses that have been quiet, once a new one needs their place.
    fn make_room(&mut self, at: Duration, address: IpAddr) {
        if self.addresses.len() < self.limits.addresses || self.addresses.contains_key(&address) {
            return;
        }
        let rate = self.limits.handshakes_per_address;
        self.addresses.retain(|_, bucket| {
            bucket.fill(rate, at);
            !bucket.is_full(rate)
        });
    }
}

/// What counts as one address: a host has one of IPv4 and a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Rate;
    use super::*;

    const NOBODY: Crowd = Crowd { connections: 0, half_open: 0 };

    fn door() -> Door {
        Door::new(Limits {
            connections: 10,
            half_open: 4,
            half_open_unproven: 2,
            handshakes_per_address: Rate { per_second: 1.0, burst: 2 },
            handshakes: Rate { per_second: 2.0, burst: 5 },
            addresses: 3,
            ..Limits::default()
        })
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// What goes wrong without it: whoever knocks fastest is served, and members wait outside.
    #[test]
    fn each_limit_of_the_door_is_reached() {
        let second = Duration::from_secs;
        let crowd = |connections, half_open| Crowd { connections, half_open };
        let mut door = door();
        // By who is here.
        assert_eq!(door.knock(second(0), address(1), true, crowd(10, 0)), Entry::Refuse("connections"));
        assert_eq!(door.knock(second(0), address(1), false, crowd(9, 2)), Entry::Prove);
        assert_eq!(door.knock(second(0), address(1), true, crowd(9, 4)), Entry::Refuse("half_open"));
        assert_eq!(door.knock(second(0), address(1), false, crowd(9, 1)), Entry::Come);
        // By address: the second token goes, then a proof is wanted, then none is enough; a second brings one back.
        assert_eq!(door.knock(second(0), address(1), true, NOBODY), Entry::Come);
        assert_eq!(door.knock(second(0), address(1), false, NOBODY), Entry::Prove);
        assert_eq!(door.knock(second(0), address(1), true, NOBODY), Entry::Refuse("handshakes_per_address"));
        assert_eq!(door.knock(second(1), address(1), true, NOBODY), Entry::Come);
        // In all: five at once, two a second.
        let rush: Vec<_> = (2..6).map(|last| door.knock(second(1), address(last), true, NOBODY)).collect();
        assert_eq!(rush, [Entry::Come; 4]);
        assert_eq!(door.knock(second(1), address(6), true, NOBODY), Entry::Refuse("handshakes"));
        assert_eq!(door.knock(second(2), address(6), true, NOBODY), Entry::Come);
        assert_eq!(door.n_refused, 4);
    }

    #[test]
    fn no_more_addresses_are_kept_than_allowed_and_quiet_ones_make_room() {
        let mut door = door();
        for last in 1..=5 {
            door.knock(Duration::ZERO, address(last), true, NOBODY);
            assert!(door.addresses.len() <= 3);
        }
        assert!(!door.addresses.contains_key(&address(5)), "those that are counted are not quiet yet");
        assert_eq!(door.knock(Duration::from_secs(9), address(6), true, NOBODY), Entry::Come);
        assert_eq!(door.addresses.keys().copied().collect::<Vec<_>>(), [address(6)]);
    }

    #[test]
    fn a_host_has_one_address_however_many_it_uses() {
        let six = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, last));
        assert_eq!(network(six(1)), network(six(2)));
        assert_eq!(network("::ffff:192.0.2.9".parse().unwrap()), address(9));
        assert_ne!(network(address(1)), network(address(2)));
    }
}
