//! The exact sum of a round's updates, and those that wait to be folded together.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tributary_common::parameters::Dtype;
use tributary_common::sum::{Part, Sum, TOGETHER, Weight};

use super::scratch::{Scratch, Scratches};
use super::{Aggregate, Coordinates, Error, Kept};
#[cfg(test)]
use crate::planted::Bug;
use crate::spread::{self, Threads};

/// Updates wait for each other up to so many bytes, so that a part of the sum is read from memory once for all of them.
const WAITING_BYTES_MAX: usize = 128 << 20;

/// As many updates wait at most.
const WAITING_MAX: usize = 64;

/// Where nothing else is to do, so many bytes still wait: a commit folds them in passing.
const LEFT_BYTES: usize = 16 << 20;

/// The exact sum of a round's updates.
#[derive(Debug)]
pub struct Summed<U> {
    sum: Sum,
    dtype: Dtype,
    threads: Threads,
    waiting: Vec<(U, Weight)>,
    scratches: Scratches,
}

impl<U: Kept> Summed<U> {
    pub(super) fn new(sum: Sum, dtype: Dtype, threads: Threads) -> Self {
        Self { sum, dtype, threads, waiting: Vec::new(), scratches: Scratches::default() }
    }

    /// Takes one more update, whose every check is passed.
    ///
    /// # Errors
    /// The total weight is beyond its limit, or an update cannot be read.
    pub(super) fn take(&mut self, update: U, weight: Weight) -> Result<(), Error> {
        self.sum.admit(weight)?;
        self.waiting.push((update, weight));
        if self.waiting.len() == WAITING_MAX || self.waiting_bytes() >= WAITING_BYTES_MAX {
            self.fold()
        } else {
            Ok(())
        }
    }

    /// Folds what waits, unless it is little.
    ///
    /// # Errors
    /// An update cannot be read.
    pub(super) fn catch_up(&mut self) -> Result<(), Error> {
        if self.waiting_bytes() > LEFT_BYTES { self.fold() } else { Ok(()) }
    }

    fn waiting_bytes(&self) -> usize {
        self.waiting.len() * self.sum.len() * self.dtype.size()
    }

    fn fold(&mut self) -> Result<(), Error> {
        let (dtype, waiting, scratches) = (self.dtype, &self.waiting, &self.scratches);
        let threads = self.threads.over(self.waiting_bytes());
        let work = |mut span: Part<'_>| {
            let mut scratch = scratches.take();
            fold(&mut span, dtype, waiting, &mut scratch)?;
            scratches.give_back(scratch);
            Ok::<_, Error>(())
        };
        spread::in_order(threads, self.sum.spans(), work, |()| {})?;
        self.waiting.clear();
        Ok(())
    }

    /// The updates as their mean, to be read once.
    pub(super) fn mean(&mut self) -> Mean<'_, U> {
        let weight = self.sum.weight();
        let spans = self.sum.spans().map(Mutex::new).collect();
        Mean { dtype: self.dtype, spans, waiting: &self.waiting, weight, scratches: &self.scratches }
    }
}

/// Folds `updates` into one span of their sum.
fn fold<U: Kept>(
    span: &mut Part<'_>,
    dtype: Dtype,
    updates: &[(U, Weight)],
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let (range, size) = (span.range(), dtype.size());
    for group in updates.chunks(TOGETHER) {
        let mut pieces = Vec::with_capacity(group.len());
        for ((update, weight), scratch) in group.iter().zip(&mut scratch.pieces) {
            pieces.push((update.read(range.start * size..range.end * size, scratch)?, *weight));
        }
        span.fold_all_bytes(range.start, dtype, &pieces)?;
    }
    Ok(())
}

/// The mean of a round's updates: what waits is folded, span by span, just before it is read, and what was read is gone. A
/// sum of which every update waits thus never stands in memory as a whole.
#[derive(Debug)]
pub(super) struct Mean<'a, U> {
    dtype: Dtype,
    spans: Vec<Mutex<Part<'a>>>,
    waiting: &'a [(U, Weight)],
    weight: u64,
    scratches: &'a Scratches,
}

impl<U: Kept> Aggregate for Mean<'_, U> {
    fn open(&self, span: usize) -> Result<Box<dyn Coordinates + '_>, Error> {
        let mut part = self.spans[span].lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        if Bug::FloatSum.is_planted() {
            return Ok(Box::new(Floats::sum(part.range(), self.dtype, self.waiting)?));
        }
        let mut scratch = self.scratches.take();
        part.prepare(&mut scratch.spare);
        fold(&mut part, self.dtype, self.waiting, &mut scratch)?;
        Ok(Box::new(Opened { part, weight: self.weight, scratch, scratches: self.scratches }))
    }
}

struct Opened<'a, 'b> {
    part: MutexGuard<'a, Part<'b>>,
    weight: u64,
    scratch: Scratch,
    scratches: &'a Scratches,
}

impl Coordinates for Opened<'_, '_> {
    fn read(&mut self, range: Range<usize>, out: &mut [f64]) -> Result<(), Error> {
        Ok(self.part.mean_into_f64(range, out, self.weight)?)
    }
}

impl Drop for Opened<'_, '_> {
    fn drop(&mut self) {
        self.part.clear(&mut self.scratch.spare);
        self.scratches.give_back(std::mem::take(&mut self.scratch));
    }
}

/// The bug that adds in floating point, in the order in which updates came.
#[cfg(test)]
struct Floats {
    begin: usize,
    sums: Vec<f64>,
    weight: f64,
}

#[cfg(test)]
impl Floats {
    fn sum<U: Kept>(range: Range<usize>, dtype: Dtype, updates: &[(U, Weight)]) -> Result<Self, Error> {
        let mut sum = Self { begin: range.start, sums: vec![0.0; range.len()], weight: 0.0 };
        let (size, mut scratch) = (dtype.size(), Vec::new());
        for (update, weight) in updates {
            #[expect(clippy::cast_precision_loss, reason = "it is a bug")]
            let weight = weight.get() as f64;
            sum.weight += weight;
            let bytes = update.read(range.start * size..range.end * size, &mut scratch)?;
            for (sum, value) in sum.sums.iter_mut().zip(bytes.chunks_exact(size)) {
                *sum += dtype.read(value) * weight;
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
impl Coordinates for Floats {
    fn read(&mut self, range: Range<usize>, out: &mut [f64]) -> Result<(), Error> {
        let sums = &self.sums[range.start - self.begin..range.end - self.begin];
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum / self.weight);
        Ok(())
    }
}
