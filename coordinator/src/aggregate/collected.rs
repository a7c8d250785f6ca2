//! What the accepted updates of a round have become so far, and how they reach the server optimiser.

use std::io;
use std::ops::Range;

use tributary_common::id::ClientId;
use tributary_common::parameters::{Dtype, Layout};
use tributary_common::sum::{self, Sum, Weight};

use super::{Aggregator, Gathered, Kept, Rule};
#[cfg(test)]
use crate::planted::Bug;

/// What updates have become, ready for the server optimiser.
pub trait Aggregate {
    /// Writes the combined update in the coordinates of `range`, at most 4096, to `out`.
    ///
    /// # Errors
    /// There is nothing, or it cannot be read.
    fn read(&mut self, range: Range<usize>, out: &mut [f64]) -> Result<(), Error>;
}

/// Why a round's updates could not become one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The exact sum refused.
    #[error(transparent)]
    Sum(#[from] sum::Error),
    /// A kept update could not be read back.
    #[error("could not read a kept update: {0}")]
    Kept(#[from] io::Error),
}

impl Aggregate for Sum {
    fn read(&mut self, range: Range<usize>, out: &mut [f64]) -> Result<(), Error> {
        Ok(self.mean_into_f64(range, out)?)
    }
}

/// The bug that adds in floating point, read as an aggregate.
#[cfg(test)]
struct Floats<'a>(&'a [f64], u64);

#[cfg(test)]
impl Aggregate for Floats<'_> {
    fn read(&mut self, range: Range<usize>, out: &mut [f64]) -> Result<(), Error> {
        out.iter_mut().zip(&self.0[range]).for_each(|(out, sum)| *out = sum / self.1 as f64);
        Ok(())
    }
}

/// What a round has collected: as much of the updates as its rule needs.
#[derive(Debug)]
pub enum Collected<U> {
    /// Every update, for a rule that looks at all of them.
    All(Gathered<U>),
    /// Their sum in floating point, and the sum of their weights: a bug.
    #[cfg(test)]
    Floats(Vec<f64>, u64),
    /// Their exact sum.
    Sum(Sum),
}

impl<U: Kept> Collected<U> {
    /// Nothing yet, for a model of `layout` under `aggregator`.
    ///
    /// # Errors
    /// The resolution of the sum is beyond its limit.
    pub fn new(aggregator: &Aggregator, layout: &Layout) -> Result<Self, Error> {
        Ok(match aggregator.rule {
            Rule::All(_) => Self::All(Gathered::new(dtype(layout))),
            #[cfg(test)]
            Rule::Mean(_) if Bug::FloatSum.is_planted() => Self::Floats(vec![0.0; layout.count()], 0),
            Rule::Mean(_) => Self::Sum(Sum::new(layout.count(), aggregator.bits)?),
        })
    }

    /// Takes one client's update, whose every check is passed. The machine folds a client once (I1).
    ///
    /// # Errors
    /// The update changed since it was checked, or cannot be read; what was collected must not be used any more.
    pub fn take(&mut self, client: ClientId, mut update: U, weight: Weight, layout: &Layout) -> Result<(), Error> {
        match self {
            Self::All(gathered) => gathered.keep(client, update, weight),
            #[cfg(test)]
            Self::Floats(sums, total) => {
                *total += weight.get();
                let mut one = vec![0; layout.bytes()];
                update.read_at(0, &mut one)?;
                for (sum, value) in sums.iter_mut().zip(one.chunks_exact(8)) {
                    *sum += dtype(layout).read(value) * weight.get() as f64;
                }
            }
            Self::Sum(sum) => {
                sum.admit(weight)?;
                let dtype = dtype(layout);
                let mut at = 0;
                let mut folded = Ok(());
                update.read_all(&mut |block| {
                    if folded.is_ok() {
                        folded = sum.fold_bytes(at, dtype, block, weight);
                        at += block.len() / dtype.size();
                    }
                })?;
                folded?;
            }
        }
        Ok(())
    }

    /// Hands what was collected to `finish` as one combined update.
    pub fn combined<T>(&mut self, aggregator: &Aggregator, finish: impl FnOnce(&mut dyn Aggregate) -> T) -> T {
        match (self, &aggregator.rule) {
            (Self::All(gathered), Rule::All(rule)) => finish(&mut gathered.combined(&**rule)),
            (Self::Sum(sum), Rule::Mean(_)) => finish(sum),
            #[cfg(test)]
            (Self::Floats(sums, total), _) => finish(&mut Floats(sums, *total)),
            (Self::All(_), Rule::Mean(_)) | (Self::Sum(_), Rule::All(_)) => {
                unreachable!("a round is collected and combined under one rule")
            }
        }
    }
}

/// The type of a model's values: models have one.
fn dtype(layout: &Layout) -> Dtype {
    layout.tensors().first().map_or(Dtype::F32, |tensor| tensor.dtype)
}
