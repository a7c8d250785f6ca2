//! Asking a silent coordinator again and again, at a steady pace.
//!
//! QUIC asks too, but after every question without an answer it waits twice as long (the probe timeout, RFC 9002 section
//! 6.2.1): a coordinator that was away for a minute would be noticed up to a minute after it is back. Its answer to a
//! connection that it does not know is a stateless reset, and any packet brings that about.

use std::time::Duration;

use quinn::{Connection, VarInt};
use tributary_common::net::Windows;

/// Asks no more often than this, whatever the keep-alive.
const SHORTEST: Duration = Duration::from_millis(10);

/// Sends a packet after every `keep_alive` in which nothing came; never ends. So a coordinator that is back is noticed
/// within one keep-alive and a round trip, unless an upload fills the congestion window: then only QUIC's own probes leave.
///
/// quinn has no call that sends a PING. A receive window that grows by one byte takes its place: it is told at once, in a
/// frame (`MAX_DATA`) that wants an acknowledgement.
pub(super) async fn ask(connection: Connection, keep_alive: Duration, windows: Windows) {
    let mut window = windows.connection_bytes;
    let mut heard = 0;
    loop {
        tokio::time::sleep(keep_alive.max(SHORTEST)).await;
        let datagrams = connection.stats().udp_rx.datagrams;
        if datagrams == heard {
            window = window.saturating_add(1);
            connection.set_receive_window(VarInt::from_u32(window));
        }
        heard = datagrams;
    }
}
