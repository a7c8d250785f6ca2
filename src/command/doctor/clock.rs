//! This machine's clock, as far as certificates tell: whoever issued them had one too.

use std::path::Path;
use std::time::SystemTime;

use tributary_certs::{Description, describe};

use super::Finding;
use crate::command::certs::now;

const CHECK: &str = "clock";

const FIX: &str = "set the clock of this machine: sudo timedatectl set-ntp true";

pub(super) fn check(identity: &Path) -> Finding {
    let described = describe(&identity.join("chain.pem")).and_then(|mut chain| {
        chain.extend(describe(&identity.join("root.pem"))?);
        Ok(chain)
    });
    match described {
        Ok(certificates) => judge(&certificates, seconds(now())),
        Err(error) => {
            Finding::warn(CHECK, format!("not compared with any certificate: {error}"), "mend the identity first")
        }
    }
}

/// Seconds since 1970; a clock before that is as wrong as one of 1970.
pub(super) fn seconds(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// `certificates`: the chain, then the roots.
fn judge(certificates: &[Description], now: i64) -> Finding {
    let youngest = certificates.iter().map(|one| one.not_before).max().unwrap_or(i64::MIN);
    let oldest = certificates.iter().map(|one| one.not_after).max().unwrap_or(i64::MAX);
    if now < youngest {
        let found = format!("behind by {} h or more: a certificate begins after this moment", hours(youngest - now));
        Finding::fail(CHECK, found, FIX)
    } else if now > oldest {
        let found = format!("ahead, or the federation is over: its root ended {} h ago", hours(now - oldest));
        Finding::fail(CHECK, found, FIX)
    } else {
        Finding::ok(CHECK, "after the beginning of every certificate")
    }
}

/// Rounded up, so that a difference is never none.
const fn hours(seconds: i64) -> i64 {
    (seconds + 3599) / 3600
}

#[cfg(test)]
mod tests {
    use tributary_common::Digest;

    use super::super::Verdict;
    use super::*;

    fn certificate(not_before: i64, not_after: i64) -> Description {
        let (file, subject, serial) = (String::new(), String::new(), String::new());
        Description { file, subject, serial, not_before, not_after, fingerprint: Digest::of(b"") }
    }

    /// What goes wrong without it: a device whose battery was flat is sent away as "not valid yet", far from the cause.
    #[test]
    fn a_clock_outside_of_the_certificates_lives_is_wrong() {
        let chain = [certificate(1000, 2000), certificate(500, 9000)];
        let verdict = |now| judge(&chain, now).verdict;
        // An ended certificate below a root that goes on says nothing about the clock.
        assert_eq!([999, 1000, 5000, 9001].map(verdict), [Verdict::Fail, Verdict::Ok, Verdict::Ok, Verdict::Fail]);
        assert!(judge(&chain, 0).found.starts_with("behind by 1 h or more"));
    }
}
