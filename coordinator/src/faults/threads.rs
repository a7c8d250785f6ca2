//! The two threads of the coordinator's process: one folds updates and builds versions, one writes rows.

use std::ops::Range;
use std::sync::Mutex;

use tributary_common::id::{ClientId, Ticket, Version};
use tributary_common::sum::Weight;
use tributary_common::time::Time;

use super::disk::Pending;
use super::fault::Fault;
use super::oracle::Means;
use super::process::CLOCK_EVERY;
use super::work::{CLIENTS_MAX, MIXED};
use super::world::{Happening, World};
use crate::aggregate::{self, Aggregate, Collected, Coordinates};
use crate::round::Event;
use crate::spread::Threads;

/// Rows that share one transaction at most, as in the journal's thread.
const GROUP: usize = 256;

/// Simulated runs are spread over cores, not their models.
const THREADS: Threads = Threads::new(1);

/// An aggregate whose every coordinate is written down as the server optimiser reads it.
struct Seen<'a> {
    aggregate: &'a dyn Aggregate,
    means: &'a Mutex<Means>,
}

impl Aggregate for Seen<'_> {
    fn open(&self, span: usize) -> Result<Box<dyn Coordinates + '_>, aggregate::Error> {
        Ok(Box::new(SeenCoordinates { coordinates: self.aggregate.open(span)?, means: self.means }))
    }
}

struct SeenCoordinates<'a> {
    coordinates: Box<dyn Coordinates + 'a>,
    means: &'a Mutex<Means>,
}

impl Coordinates for SeenCoordinates<'_> {
    fn read(&mut self, range: Range<usize>, out: &mut [f64]) -> Result<(), aggregate::Error> {
        self.coordinates.read(range.clone(), out)?;
        self.means.lock().expect("nobody panics with it")[range].copy_from_slice(out);
        Ok(())
    }
}

/// What the fold thread has to answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Closed { ticket: Ticket },
    Commit { ticket: Ticket, version: Version },
}

impl World {
    pub(super) fn fold(&mut self, client: ClientId, ticket: Ticket, weight: u64) {
        let (aggregator, layout) = (self.aggregator.clone(), self.layout.clone());
        let process = self.process();
        let update = process.staged.remove(&(ticket, client.clone())).expect("what is folded was staged");
        let mut collected = match process.collected.take() {
            Some(collected) => collected,
            None => Collected::new(&aggregator, &layout, THREADS).expect("the default resolution"),
        };
        let weight = Weight::new(weight).expect("weights are checked at the door");
        collected.take(client, update.parameters, weight).expect("updates are checked at the door");
        process.collected = Some(collected);
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        let takes = self.between(1, 200);
        let now = self.now;
        let process = self.process();
        let (at, number) = ((now + takes).max(process.answered_at), process.number);
        process.answered_at = at;
        self.schedule_at(at, Happening::Answered { number, answer });
    }

    pub(super) fn answered(&mut self, number: u64, answer: Answer) {
        if self.process.as_ref().is_none_or(|process| process.number != number) {
            return;
        }
        let event = match answer {
            Answer::Closed { ticket } => Event::Closed { ticket },
            Answer::Commit { ticket, version } => self.commit(ticket, version),
        };
        self.process().events.push_back(event);
        self.settle();
    }

    fn commit(&mut self, ticket: Ticket, version: Version) -> Event {
        if self.strikes(Fault::DiskFull) {
            return Event::StoreFailed { reason: "no space is left for the version".to_owned() };
        }
        let aggregator = self.aggregator.clone();
        let process = self.process();
        let mut collected = process.collected.take().expect("a commit has a quorum of at least one");
        let seen = Mutex::new([0.0; CLIENTS_MAX + MIXED]);
        let (optimizer, model) = (&mut process.optimizer, &process.model);
        let next = collected.combined(&aggregator, |aggregate: &dyn Aggregate| {
            optimizer.step(model, &Seen { aggregate, means: &seen }, THREADS)
        });
        let (next, digest) = next.expect("memory can be read back");
        let means = seen.into_inner().expect("nobody panics with it");
        process.model = next.clone();
        self.disk.keep_model(version, next);
        self.oracle.built(version, ticket, means, digest);
        Event::Committed { version, digest }
    }

    pub(super) fn keep_clock(&mut self) {
        let now = self.clock();
        let process = self.process();
        if process.machine.open_ticket().is_some() && process.clock_kept + CLOCK_EVERY <= now {
            process.clock_kept = now;
            process.clock_order = Some(now);
        }
    }

    /// Begins to write what waits, unless the disk is at work.
    pub(super) fn write(&mut self) {
        let is_busy = self.disk.is_busy();
        let process = self.process();
        if is_busy || (process.orders.is_empty() && process.clock_order.is_none()) {
            return;
        }
        let count = process.orders.len().min(GROUP);
        let rows: Vec<Pending> = process.orders.drain(..count).collect();
        let at = rows.iter().map(|pending| pending.recorded.at).chain(process.clock_order.take()).max();
        let number = process.number;
        self.disk.begin(rows, at.unwrap_or(Time::ZERO));
        let takes = if self.strikes(Fault::FsyncSlow) { self.between(100, 10_000) } else { self.between(1, 8) };
        let is_failed = self.strikes(Fault::FsyncFailed) || self.strikes(Fault::DiskFull);
        if self.strikes(Fault::CoordinatorKilledWriting) {
            self.schedule(takes / 2, Happening::Kill { number });
        }
        self.schedule(takes, Happening::Written { number, is_failed });
    }

    pub(super) fn written(&mut self, number: u64, is_failed: bool) {
        if self.process.as_ref().is_none_or(|process| process.number != number) {
            return;
        }
        let event = if is_failed {
            // Nobody knows what is on the disk now.
            if self.stream.below(2) == 0 {
                self.land();
            } else {
                self.disk.tear();
            }
            self.process().orders.clear();
            Some(Event::StoreFailed { reason: "the disk failed".to_owned() })
        } else {
            self.land().checked_sub(1).map(|sequence| Event::Appended { sequence })
        };
        self.process().events.extend(event);
        self.settle();
    }
}
