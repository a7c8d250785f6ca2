//! How often a member gets a new certificate. Each costs a signature and an entry in the authority's ledger that outlives
//! it, under the lock that revocation waits for.
//!
//! There is no clock in [`Counts`]: whoever asks says what time it is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tributary_common::id::ClientId;

use super::bucket::Bucket;
use super::limits::Rate;

/// Counts renewals for all sessions.
#[derive(Debug)]
pub(super) struct Renewals {
    began: Instant,
    counts: Mutex<Counts>,
}

impl Renewals {
    /// See [`Counts::new`].
    pub(super) fn new(per_half_life: u32, validity: Duration, members: usize) -> Self {
        Self { began: super::now(), counts: Mutex::new(Counts::new(per_half_life, validity, members)) }
    }

    /// Counts a renewal of `member`.
    ///
    /// # Errors
    /// It had too many; what it is told.
    pub(super) fn count(&self, member: &ClientId) -> Result<(), String> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).count(self.began.elapsed(), member)
    }
}

/// Renewals by member: one that has several certificates has one count.
#[derive(Debug)]
struct Counts {
    rate: Rate,
    /// Members that have renewed lately. Only the authority makes members, so that nobody fills this with made-up names.
    lately: BTreeMap<ClientId, Bucket>,
    /// From so many on, those whose count has come to nothing are forgotten.
    members: usize,
}

impl Counts {
    /// So many renewals for each member in half of `validity`, the life of a certificate: an honest one needs one.
    fn new(per_half_life: u32, validity: Duration, members: usize) -> Self {
        let half_life = (validity / 2).max(Duration::from_secs(1));
        let per_second = f64::from(per_half_life) / half_life.as_secs_f64();
        Self { rate: Rate { per_second, burst: per_half_life }, lately: BTreeMap::new(), members }
    }

    /// Counts a renewal of `member` at `at`, which must not go backwards.
    ///
    /// # Errors
    /// It had too many; what it is told.
    fn count(&mut self, at: Duration, member: &ClientId) -> Result<(), String> {
        let rate = self.rate;
        if self.lately.len() >= self.members && !self.lately.contains_key(member) {
            self.lately.retain(|_, bucket| {
                bucket.fill(rate, at);
                !bucket.is_full(rate)
            });
        }
        let bucket = self.lately.entry(member.clone()).or_insert_with(|| Bucket::full(rate, at));
        bucket.fill(rate, at);
        if bucket.is_empty() {
            let seconds = ((1.0 - bucket.tokens) / rate.per_second).ceil();
            let most = rate.burst;
            return Err(format!(
                "renewed {most} times within half of a certificate's life; come again in {seconds:.0} s"
            ));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes wrong without it: one member keeps the authority's disk busy, and its ledger grows without end.
    #[test]
    fn a_member_has_its_renewals_in_half_a_certificates_life_and_the_others_theirs() {
        let second = Duration::from_secs;
        let [a, b] = ["a", "b"].map(|name| name.parse::<ClientId>().unwrap());
        let mut renewals = Counts::new(2, second(200), 10);
        assert_eq!([&a, &a, &b].map(|member| renewals.count(second(0), member)), [Ok(()), Ok(()), Ok(())]);
        let refused = renewals.count(second(1), &a).unwrap_err();
        assert_eq!(refused, "renewed 2 times within half of a certificate's life; come again in 49 s");
        assert_eq!(renewals.count(second(50), &a), Ok(()));
        assert!(renewals.count(second(51), &a).is_err());
        // Each at half of its certificate's life, as they should.
        for half in 1..5 {
            assert_eq!(renewals.count(second(100 * half), &b), Ok(()));
        }
    }

    #[test]
    fn members_that_have_not_renewed_for_long_are_forgotten() {
        let mut renewals = Counts::new(1, Duration::from_secs(10), 3);
        for at in 0..100 {
            let member = ClientId::simulated(usize::try_from(at).unwrap(), 100);
            assert_eq!(renewals.count(Duration::from_secs(5 * at), &member), Ok(()));
            assert!(renewals.lately.len() <= 3);
        }
    }
}
