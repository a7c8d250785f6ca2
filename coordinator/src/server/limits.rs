//! What a coordinator bears. Every limit has a name, a unit and a default.

use std::time::Duration;

use tributary_common::net::Windows;

/// What a coordinator bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once, those in the handshake included; more are refused. Default 10,000.
    pub connections: usize,
    /// Devices that may be joining at once, where there is a port for it; more are refused. Default 32.
    pub joining_connections: usize,
    /// How long a peer may take from its first packet to `Hello`. Default 10 s.
    pub handshake: Duration,
    /// How long an upload may go without a byte. Default 30 s.
    pub upload_silence: Duration,
    /// Bytes of updates that may be under way at once; more wait for their permit. Default 256 MiB.
    pub upload_bytes: u64,
    /// Bytes of small updates that are kept in memory until they are folded; the others go to files. Default 16 MiB.
    pub staged_memory_bytes: usize,
    /// How long the final model is still served after the end. Default 5 s, or until the last client has left.
    pub linger: Duration,
    /// Transport windows: what a connection may cost in memory.
    pub windows: Windows,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            joining_connections: 32,
            handshake: Duration::from_secs(10),
            upload_silence: Duration::from_secs(30),
            upload_bytes: 256 << 20,
            staged_memory_bytes: 16 << 20,
            linger: Duration::from_secs(5),
            windows: Windows::default(),
        }
    }
}
