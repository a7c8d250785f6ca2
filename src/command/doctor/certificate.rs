//! An identity's certificates: whether the other side of a connection would take them, and how long it still will.

use std::path::Path;

use tributary_certs::{Credentials, describe};
use tributary_common::identity::Identity;

use super::{Finding, clock};
use crate::command::certs::now;

const CHECK: &str = "certificate";

const ISSUE: &str = "issue a new one with `tributary certs issue`";

const RENEW: &str =
    "issue a new one with `tributary certs issue`; one that has joined renews itself while its client runs";

pub(super) fn check(folder: &Path) -> Finding {
    let read = || {
        let credentials = Credentials::load(folder)?;
        credentials.check(now())?;
        let leaf = describe(&folder.join("chain.pem"))?.into_iter().next();
        Ok::<_, tributary_certs::Error>((credentials, leaf))
    };
    match read() {
        Ok((credentials, Some(leaf))) => {
            judge(credentials.identity(), leaf.not_before, leaf.not_after, clock::seconds(now()))
        }
        Ok((_, None)) => Finding::fail(CHECK, "there is none", ISSUE),
        Err(error) => {
            let fix = error.hint().unwrap_or_else(|| ISSUE.to_owned());
            Finding::fail(CHECK, error.to_string(), fix)
        }
    }
}

/// Warns in the last quarter of a certificate's life: one that renews itself would be new by then.
fn judge(identity: &Identity, begin: i64, end: i64, now: i64) -> Finding {
    let left = end.saturating_sub(now);
    let found = format!("{identity}, valid for {} more days", left / 86_400);
    if left < end.saturating_sub(begin) / 4 { Finding::warn(CHECK, found, RENEW) } else { Finding::ok(CHECK, found) }
}

#[cfg(test)]
mod tests {
    use tributary_common::identity::Role;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_last_quarter_of_a_life_is_worth_a_warning() {
        let identity = Identity { federation: "test".to_owned(), role: Role::Client, name: "ward".parse().unwrap() };
        let verdict = |now| judge(&identity, 0, 4000, now).verdict;
        assert_eq!([0, 3000, 3001, 3999].map(verdict), [Verdict::Ok, Verdict::Ok, Verdict::Warn, Verdict::Warn]);
    }
}
