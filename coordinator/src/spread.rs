//! Work on the spans of a model, spread over threads, with the results in order.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// What is smaller, in bytes, is done before another thread has begun.
const ALONE_BYTES: usize = 1 << 20;

/// More threads than this wait for memory, not for each other.
pub(crate) const THREADS_MAX: usize = 8;

/// How many threads may work on a model at once. No bit of a result depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads(usize);

impl Threads {
    /// At most `count` threads, from 1 to 8.
    #[must_use]
    pub const fn new(count: usize) -> Self {
        Self(if count < 1 {
            1
        } else if count > THREADS_MAX {
            THREADS_MAX
        } else {
            count
        })
    }

    /// One for each core of this machine.
    #[must_use]
    pub fn of_machine() -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }

    /// As many as a pass over `bytes` is worth.
    pub(crate) const fn over(self, bytes: usize) -> Self {
        if bytes < ALONE_BYTES { Self(1) } else { self }
    }
}

/// Does `work` for every job on `threads` threads, the caller's among them, and hands what comes out to `take`, on the
/// caller's thread and in the order of the jobs. With one thread nothing is started.
///
/// # Errors
/// The first that comes; jobs that nobody has begun are left.
pub(crate) fn in_order<J: Send, R: Send, E: Send>(
    threads: Threads,
    mut jobs: impl Iterator<Item = J> + Send,
    work: impl Fn(J) -> Result<R, E> + Sync,
    mut take: impl FnMut(R),
) -> Result<(), E> {
    if threads.0 == 1 {
        return jobs.try_for_each(|job| work(job).map(&mut take));
    }
    let jobs = Mutex::new(jobs.enumerate());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        let (outbox, results) = mpsc::channel();
        for _ in 1..threads.0 {
            let (outbox, next, work) = (outbox.clone(), &next, &work);
            scope.spawn(move || {
                while let Some((index, job)) = next() {
                    // Nobody listens any more: another job has failed.
                    if outbox.send((index, work(job))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(outbox);
        let (mut turn, mut early) = (0, BTreeMap::new());
        let mut came = |(index, result): (usize, Result<R, E>)| {
            early.insert(index, result?);
            while let Some(result) = early.remove(&turn) {
                take(result);
                turn += 1;
            }
            Ok(())
        };
        // What is ready is taken first: it is still in a cache.
        while let Some((index, job)) = next() {
            came((index, work(job)))?;
            results.try_iter().try_for_each(&mut came)?;
        }
        results.into_iter().try_for_each(came)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let mut seen = Vec::new();
            let slow = |job: u64| {
                thread::sleep(std::time::Duration::from_micros(37 * (job % 3)));
                Ok::<_, ()>(job * job)
            };
            in_order(Threads::new(threads), 0..50, slow, |result| seen.push(result)).unwrap();
            assert_eq!(seen, (0..50).map(|job| job * job).collect::<Vec<_>>(), "{threads} threads");
        }
    }

    #[test]
    fn threads_have_a_limit_and_small_work_has_one() {
        assert_eq!([Threads::new(0), Threads::new(3), Threads::new(99)], [Threads(1), Threads(3), Threads(8)]);
        assert_eq!(Threads::new(3).over(ALONE_BYTES - 1), Threads(1));
        assert_eq!(Threads::new(3).over(ALONE_BYTES), Threads(3));
    }

    #[test]
    fn a_failure_ends_the_work() {
        for threads in [1, 3] {
            let result =
                in_order(Threads::new(threads), 0..1000, |job| if job == 7 { Err(job) } else { Ok(()) }, |()| {});
            assert_eq!(result, Err(7), "{threads} threads");
        }
    }
}
