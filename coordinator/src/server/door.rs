//! Who of those that knock gets as far as a handshake. Anybody may knock, and a handshake costs both time and memory.
//!
//! There is no clock and no socket in here: whoever asks says what time it is and who is here already.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::bucket::Bucket;
use super::limits::{Limits, Rate};

/// What one door bears. Refusals are named by the limits that set it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    connections: Bound<usize>,
    half_open: Bound<usize>,
    half_open_unproven: usize,
    per_address: Bound<Rate>,
    all: Bound<Rate>,
    addresses: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bound<T> {
    most: T,
    name: &'static str,
}

const fn bound<T>(most: T, name: &'static str) -> Bound<T> {
    Bound { most, name }
}

impl Bounds {
    /// Of the members' door.
    pub(super) const fn members(limits: &Limits) -> Self {
        Self {
            connections: bound(limits.connections, "connections"),
            half_open: bound(limits.half_open, "half_open"),
            half_open_unproven: limits.half_open_unproven,
            per_address: bound(limits.handshakes_per_address, "handshakes_per_address"),
            all: bound(limits.handshakes, "handshakes"),
            addresses: limits.addresses,
        }
    }

    /// Of the door for devices that join: a handshake there is the whole visit, and every address proves itself first.
    pub(super) const fn joining(limits: &Limits) -> Self {
        Self {
            connections: bound(limits.joining_connections, "joining_connections"),
            half_open: bound(limits.joining_connections_per_address, "joining_connections_per_address"),
            half_open_unproven: 0,
            per_address: bound(limits.joins_per_address, "joins_per_address"),
            all: bound(limits.joins, "joins"),
            addresses: limits.addresses,
        }
    }
}

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
    /// Those in the handshake; at the door for joining, those of the same address.
    pub(super) half_open: usize,
}

/// Counts handshakes, in all and by address.
#[derive(Debug)]
pub(super) struct Door {
    bounds: Bounds,
    all: Bucket,
    addresses: BTreeMap<IpAddr, Bucket>,
    n_refused: u64,
}

impl Door {
    pub(super) fn new(bounds: Bounds) -> Self {
        let all = Bucket::full(bounds.all.most, Duration::ZERO);
        Self { bounds, all, addresses: BTreeMap::new(), n_refused: 0 }
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
        let Bounds { connections, half_open, half_open_unproven, per_address, all, addresses } = self.bounds;
        self.all.fill(all.most, at);
        self.make_room(at, address);
        let is_counted = self.addresses.len() < addresses || self.addresses.contains_key(&address);
        let mut own = is_counted.then(|| {
            let bucket = || Bucket::full(per_address.most, at);
            self.addresses.entry(address).or_insert_with(bucket)
        });
        if let Some(own) = &mut own {
            own.fill(per_address.most, at);
        }
        let is_spent = own.as_ref().is_some_and(|own| own.is_empty());
        if crowd.connections >= connections.most {
            return Entry::Refuse(connections.name);
        }
        if !is_proven && (crowd.half_open >= half_open_unproven || is_spent) {
            return Entry::Prove;
        }
        if crowd.half_open >= half_open.most {
            return Entry::Refuse(half_open.name);
        }
        if is_spent {
            return Entry::Refuse(per_address.name);
        }
        if self.all.is_empty() {
            return Entry::Refuse(all.name);
        }
        self.all.tokens -= 1.0;
        if let Some(own) = own {
            own.tokens -= 1.0;
        }
        Entry::Come
    }

    /// Forgets addresses that have been quiet, once a new one needs their place.
    fn make_room(&mut self, at: Duration, address: IpAddr) {
        if self.addresses.len() < self.bounds.addresses || self.addresses.contains_key(&address) {
            return;
        }
        let rate = self.bounds.per_address.most;
        self.addresses.retain(|_, bucket| {
            bucket.fill(rate, at);
            !bucket.is_full(rate)
        });
    }
}

/// What counts as one address: a host has one of IPv4 and a /64 of IPv6.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Crowd = Crowd { connections: 0, half_open: 0 };

    fn door() -> Door {
        Door::new(Bounds::members(&Limits {
            connections: 10,
            half_open: 4,
            half_open_unproven: 2,
            handshakes_per_address: Rate { per_second: 1.0, burst: 2 },
            handshakes: Rate { per_second: 2.0, burst: 5 },
            addresses: 3,
            ..Limits::default()
        }))
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

    /// What goes wrong without it: one address takes every place and every second at the port for joining.
    #[test]
    fn each_limit_of_the_door_for_joining_is_reached() {
        let mut door = Door::new(Bounds::joining(&Limits {
            joining_connections: 5,
            joining_connections_per_address: 2,
            joins_per_address: Rate { per_second: 1.0, burst: 3 },
            joins: Rate { per_second: 1.0, burst: 4 },
            ..Limits::default()
        }));
        let mut knock = |seconds, last, is_proven, connections, half_open| {
            let crowd = Crowd { connections, half_open };
            door.knock(Duration::from_secs(seconds), address(last), is_proven, crowd)
        };
        assert_eq!(knock(0, 1, false, 0, 0), Entry::Prove, "nobody is believed");
        assert_eq!(knock(0, 1, true, 5, 0), Entry::Refuse("joining_connections"));
        assert_eq!(knock(0, 1, true, 4, 2), Entry::Refuse("joining_connections_per_address"));
        assert_eq!([0; 3].map(|_| knock(0, 1, true, 4, 1)), [Entry::Come; 3]);
        assert_eq!(knock(0, 1, true, 0, 0), Entry::Refuse("joins_per_address"));
        assert_eq!(knock(0, 2, true, 0, 0), Entry::Come);
        assert_eq!(knock(0, 3, true, 0, 0), Entry::Refuse("joins"));
        assert_eq!(knock(1, 3, true, 0, 0), Entry::Come);
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
