//! Whether UDP gets to a coordinator and back, apart from who may come in.
//!
//! A QUIC packet of a version that nobody speaks is answered with the versions that the other side does (RFC 9000,
//! section 6), before any certificate is looked at: this tells a closed firewall from a refused identity.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use super::Finding;

const CHECK: &str = "udp";

/// Tries; a single packet may be lost on a good path.
const TRIES: usize = 3;

/// How long one try waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// A client's first packet has at least so many bytes (RFC 9000, section 14.1).
const PACKET_BYTES: usize = 1200;

/// A version of the form that is reserved for this (RFC 9000, section 15).
const VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];

/// The connection ids, theirs and ours: any that an answer is known by.
const THEIRS: &[u8; 8] = b"trib-dst";
const OURS: &[u8; 8] = b"trib-src";

pub(super) fn check(coordinator: &str) -> Finding {
    let resolved = coordinator.to_socket_addrs().map(|mut addresses| addresses.next());
    let address = match resolved {
        Ok(Some(address)) => address,
        Ok(None) => return Finding::fail(CHECK, format!("`{coordinator}` has no address"), "check the name"),
        Err(error) => {
            let found = format!("could not find `{coordinator}`: {error}");
            return Finding::fail(
                CHECK,
                found,
                "give --coordinator HOST:PORT, with a name that this machine can resolve",
            );
        }
    };
    match ask(address) {
        Ok(()) => Finding::ok(CHECK, format!("QUIC is spoken at {address}")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            Finding::fail(CHECK, format!("nobody listens at {address}"), "start the coordinator, and check its port")
        }
        Err(error) => Finding::fail(
            CHECK,
            format!("no answer from {address}: {error}"),
            format!("check that the coordinator runs, and let UDP to port {} through every firewall", address.port()),
        ),
    }
}

fn ask(address: SocketAddr) -> io::Result<()> {
    let local: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 2 * PACKET_BYTES];
    for _ in 0..TRIES {
        socket.send(&question())?;
        match socket.recv(&mut answer) {
            Ok(len) if answers(&answer[..len]) => return Ok(()),
            Ok(_) => return Err(io::Error::new(ErrorKind::InvalidData, "what answers does not speak QUIC")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    let waited = PATIENCE.as_secs() * TRIES as u64;
    Err(io::Error::new(ErrorKind::TimedOut, format!("nothing came within {waited} s")))
}

/// A long header (RFC 8999, section 5.1), filled up to the size of a first packet.
fn question() -> Vec<u8> {
    let mut packet = vec![0xc0];
    packet.extend(VERSION);
    for id in [THEIRS, OURS] {
        packet.push(8);
        packet.extend(id);
    }
    packet.resize(PACKET_BYTES, 0);
    packet
}

/// A version negotiation packet for our question: version 0, and the connection ids the other way round.
fn answers(packet: &[u8]) -> bool {
    let expected: Vec<u8> = [&[0; 4], &[8][..], OURS, &[8], THEIRS].concat();
    packet.first().is_some_and(|first| first & 0x80 != 0) && packet[1..].starts_with(&expected)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn only_an_answer_to_this_question_counts() {
        let answer = [&[0xca, 0, 0, 0, 0, 8][..], OURS, &[8], THEIRS, &[0, 0, 0, 1]].concat();
        assert!(answers(&answer));
        for wrong in [&answer[..20], &question(), &[], &[0xca]] {
            assert!(!answers(wrong));
        }
    }

    #[test]
    fn a_closed_port_is_told_from_silence() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let finding = check(&closed.to_string());
        assert_eq!((finding.verdict, finding.found), (Verdict::Fail, format!("nobody listens at {closed}")));
        assert_eq!(check("no port").verdict, Verdict::Fail);
    }
}
