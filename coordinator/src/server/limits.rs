//! What a coordinator bears. Every limit has a name, a unit and a default.

use std::time::Duration;

use tributary_common::net::{Pace, Windows};

/// How often something may happen: tokens come at a steady rate, and unused ones are kept up to a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: f64,
    /// The most tokens that are kept: so many at once.
    pub burst: u32,
}

/// What a coordinator bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once, those in the handshake included; more are refused. Default 10,000.
    pub connections: usize,
    /// Handshakes that may be under way, up to `Hello`; more are refused. Default 2,000.
    pub half_open: usize,
    /// From so many on, whoever knocks must first prove its address (QUIC's Retry, one more round trip): a flood from
    /// addresses that are not the sender's ends there. Default 128.
    pub half_open_unproven: usize,
    /// Handshakes of one address (IPv6: of one /64); more are refused. Default 200 a second, 2,000 at once, for the many
    /// clients behind one router.
    pub handshakes_per_address: Rate,
    /// Handshakes in all; more are refused. A handshake takes this side 1 to 2 ms of a core. Default 1,000 a second, 4,000
    /// at once.
    pub handshakes: Rate,
    /// Addresses whose handshakes are counted at a time at each port; of more only the sum counts. Default 4,096.
    pub addresses: usize,
    /// Devices that may be joining at once, where there is a port for it; more are refused. Default 32.
    pub joining_connections: usize,
    /// Of those, devices at one address (IPv6: of one /64); more are refused, so that one address does not take all places.
    /// Default 8.
    pub joining_connections_per_address: usize,
    /// Handshakes of one address at the port for joining; more are refused, and a device that is refused comes again.
    /// Default 4 a second, 64 at once.
    pub joins_per_address: Rate,
    /// Handshakes in all at the port for joining; more are refused. Default 50 a second, a tenth of a core or less, 200 at
    /// once.
    pub joins: Rate,
    /// New certificates that one member gets in half of a certificate's life, where they are given here; more are refused
    /// until then. An honest client asks once, and again where an answer is lost. Default 8.
    pub renewals_per_half_life: u32,
    /// Reasons that one client gives why it cannot take part, and that are told; a client that gives more is heard no longer.
    /// Default 8.
    pub unfit_notices: u32,
    /// How long a peer may take from its first packet to `Hello`. Default 10 s.
    pub handshake: Duration,
    /// The slowest that an upload may be. Default 16 KiB in 30 s.
    pub upload_pace: Pace,
    /// How long one upload may take in all. Default 6 h; a round's deadline is usually sooner.
    pub upload_longest: Duration,
    /// How long a model that is not served any more may still be on its way to a client, which holds it in memory; then the
    /// connection is closed. Default 30 s.
    pub old_model: Duration,
    /// Bytes of updates that may be under way at once; more wait for their permit. Default 256 MiB.
    pub upload_bytes: u64,
    /// After how long a client is asked to come again with an update or results that were not taken for a reason of the
    /// coordinator's own, in whole seconds; it waits longer each time. Default 5 s.
    pub later: Duration,
    /// Uploads of one client that may be under way or have broken off; the oldest that broke off makes room. Default 2.
    pub partials_per_client: usize,
    /// How long an upload that broke off is kept, from its first announcement on. Default 24 h; it goes before that when
    /// nobody waits for its update any more.
    pub partial_age: Duration,
    /// Bytes that uploads that broke off may take on disk, each counted as if it were whole; the oldest go. Default 4 GiB.
    pub partial_bytes: u64,
    /// Free space, in bytes, that the updates which are under way to the disk must leave there together: none is taken that
    /// would leave less, so that the journal can still be written. Default 256 MiB.
    pub disk_floor_bytes: u64,
    /// Bytes of updates that are kept in memory until they are folded: with a journal those of at most 256 KiB, without one
    /// any. The others go to files. Default 16 MiB.
    pub staged_memory_bytes: usize,
    /// How long the final model is still served after the end. Default 5 s, or until the last client has left.
    pub linger: Duration,
    /// Bytes in flight on a connection before `Hello`: what a stranger may cost in memory. Default 64 KiB. It bounds all
    /// streams together; QUIC cannot change the bound of a single stream later, so that one is the members' from the start.
    pub stranger_bytes: u32,
    /// Transport windows: what a connection may cost in memory.
    pub windows: Windows,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            half_open: 2_000,
            half_open_unproven: 128,
            handshakes_per_address: Rate { per_second: 200.0, burst: 2_000 },
            handshakes: Rate { per_second: 1_000.0, burst: 4_000 },
            addresses: 4_096,
            joining_connections: 32,
            joining_connections_per_address: 8,
            joins_per_address: Rate { per_second: 4.0, burst: 64 },
            joins: Rate { per_second: 50.0, burst: 200 },
            renewals_per_half_life: 8,
            unfit_notices: 8,
            handshake: Duration::from_secs(10),
            upload_pace: Pace::default(),
            upload_longest: Duration::from_secs(6 * 3600),
            old_model: Duration::from_secs(30),
            upload_bytes: 256 << 20,
            later: Duration::from_secs(5),
            partials_per_client: 2,
            partial_age: Duration::from_secs(24 * 3600),
            partial_bytes: 4 << 30,
            disk_floor_bytes: 256 << 20,
            staged_memory_bytes: 16 << 20,
            linger: Duration::from_secs(5),
            stranger_bytes: 64 * 1024,
            windows: Windows::default(),
        }
    }
}
