//! The handshake with a coordinator, and how large datagrams may be on the way to it.

use std::path::Path;

use tributary_certs::Credentials;
use tributary_client::agent;
use tributary_common::identity::Role;

use super::Finding;
use crate::exit::{Failure, RUN_FAILED};
use crate::output::{bytes, duration};

const HANDSHAKE: &str = "handshake";
const MTU: &str = "path mtu";

/// What a path without tunnels carries: 1452 bytes over Ethernet and IPv6, where the search of QUIC ends.
const USUAL_BYTES: u16 = 1400;

/// Nothing to try where the identity cannot be read: its own check says so.
pub(super) fn check(coordinator: &str, identity: &Path) -> Result<Vec<Finding>, Failure> {
    let Ok(credentials) = Credentials::load(identity) else { return Ok(Vec::new()) };
    if credentials.identity().role == Role::Coordinator {
        let found = "not tried: the identity is a coordinator's, which visits no other";
        return Ok(vec![Finding::warn(HANDSHAKE, found, "give the identity of a client or evaluator")]);
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(RUN_FAILED, error))?;
    Ok(match runtime.block_on(agent::probe(coordinator, credentials)) {
        Ok(path) => {
            let found = format!("let in by {}, round trip {}", path.address, duration(path.round_trip.as_secs_f64()));
            vec![Finding::ok(HANDSHAKE, found), size(path.datagram_bytes)]
        }
        Err(agent::Error::NotAuthorised(reason)) => {
            let (found, fix) = reason.split_once("; hint: ").unwrap_or((&reason, "ask whoever runs the coordinator"));
            vec![Finding::fail(HANDSHAKE, found, fix)]
        }
        Err(error) => {
            let fix = "UDP gets through, the handshake does not: let datagrams of 1200 bytes through every firewall";
            vec![Finding::fail(HANDSHAKE, error.to_string(), fix)]
        }
    })
}

fn size(datagram_bytes: u16) -> Finding {
    let found = format!("datagrams of {}", bytes(datagram_bytes.into()));
    if datagram_bytes >= USUAL_BYTES {
        Finding::ok(MTU, found)
    } else {
        let fix = "raise the MTU of the tunnel or link on the way to 1500 where it can be";
        Finding::warn(MTU, format!("{found}, 1.5 kB are usual: transfers take more packets"), fix)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_narrow_path_is_slow_and_not_wrong() {
        assert_eq!(
            [1200, 1399, 1400, 1452].map(|bytes| size(bytes).verdict),
            [Verdict::Warn, Verdict::Warn, Verdict::Ok, Verdict::Ok]
        );
    }
}
