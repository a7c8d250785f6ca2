//! Whether the system gives sockets the buffers that they ask for.

use tributary_common::net::SOCKET_BYTES;

use super::Finding;
use crate::output::bytes;

const CHECK: &str = "socket buffers";

/// The limits of Linux, for what is received and for what is sent.
const LIMITS: [&str; 2] = ["rmem_max", "wmem_max"];

pub(super) fn check() -> Finding {
    let read = |name| std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok();
    judge(LIMITS.map(|name| read(name).and_then(|text| text.trim().parse().ok())))
}

fn judge(limits: [Option<u64>; 2]) -> Finding {
    let known: Vec<_> =
        LIMITS.iter().zip(limits).filter_map(|(name, limit)| Some((format!("net.core.{name}"), limit?))).collect();
    if known.is_empty() {
        return Finding::ok(CHECK, "this system states no limits");
    }
    let told: Vec<_> = known.iter().map(|(name, limit)| format!("{name} {}", bytes(*limit))).collect();
    let wanted = SOCKET_BYTES as u64;
    let settings: Vec<_> =
        known.iter().filter(|(_, limit)| *limit < wanted).map(|(name, _)| format!("{name}={wanted}")).collect();
    if settings.is_empty() {
        return Finding::ok(CHECK, told.join(", "));
    }
    let found = format!(
        "{}, sockets ask for {}: a burst from many clients is lost and sent again",
        told.join(", "),
        bytes(wanted)
    );
    Finding::warn(CHECK, found, format!("sudo sysctl -w {}", settings.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_command_raises_the_limits_that_are_low_and_no_other() {
        let enough = Some(SOCKET_BYTES as u64);
        assert_eq!(judge([enough, Some(u64::MAX)]).verdict, Verdict::Ok);
        assert_eq!(judge([None, None]).verdict, Verdict::Ok);
        let low = judge([Some(212_992), enough]);
        assert_eq!(low.verdict, Verdict::Warn);
        assert_eq!(low.fix.unwrap(), "sudo sysctl -w net.core.rmem_max=2097152");
        let both = judge([Some(1), Some(1)]).fix.unwrap();
        assert_eq!(both, "sudo sysctl -w net.core.rmem_max=2097152 net.core.wmem_max=2097152");
    }
}
