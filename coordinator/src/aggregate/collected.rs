//! What the accepted updates of a round have become so far, and how they reach the server optimiser.

use std::io;
use std::ops::Range;

use tributary_common::id::ClientId;
use tributary_common::parameters::Layout;
use tributary_common::sum::{self, Sum, Weight};

use super::summed::Summed;
use super::{Aggregator, Gathered, Kept, Rule};
use crate::spread::Threads;

/// What updates have become, ready for the server optimiser, whose threads share it.
pub trait Aggregate: Sync {
    /// The combined update in the `span`-th [`SPAN`](sum::SPAN) of the model. Asked once for each.
    ///
    /// # Errors
    /// An update cannot be read.
    fn open(&self, span: usize) -> Result<Box<dyn Coordinates + '_>, Error>;
}

/// Some coordinates of a combined update.
pub trait Coordinates {
    /// Writes those in `range`, counted in the whole model and at most 4096, to `out`.
    ///
    /// # Errors
    /// There is no update, or one cannot be read.
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

/// What a round has collected: as much of the updates as its rule needs.
#[derive(Debug)]
pub enum Collected<U> {
    /// Every update, for a rule that looks at all of them.
    All(Gathered<U>),
    /// Their exact sum.
    Sum(Summed<U>),
}

impl<U: Kept> Collected<U> {
    /// Nothing yet, for a model of `layout` under `aggregator`, to be folded by `threads`.
    ///
    /// # Errors
    /// The resolution of the sum is beyond its limit.
    pub fn new(aggregator: &Aggregator, layout: &Layout, threads: Threads) -> Result<Self, Error> {
        Ok(match aggregator.rule {
            Rule::All(_) => Self::All(Gathered::new(layout.dtype())),
            Rule::Mean(_) => {
                let sum = Sum::new(layout.count(), aggregator.bits)?;
                Self::Sum(Summed::new(sum, layout.dtype(), threads))
            }
        })
    }

    /// Takes one client's update, whose every check is passed. The machine folds a client once (I1).
    ///
    /// # Errors
    /// The update changed since it was checked, or cannot be read; what was collected must not be used any more.
    pub fn take(&mut self, client: ClientId, update: U, weight: Weight) -> Result<(), Error> {
        match self {
            Self::All(gathered) => gathered.keep(client, update, weight),
            Self::Sum(summed) => summed.take(update, weight)?,
        }
        Ok(())
    }

    /// Does what can be done before the round closes: for a time when nobody waits.
    ///
    /// # Errors
    /// As [`Collected::take`].
    pub fn catch_up(&mut self) -> Result<(), Error> {
        match self {
            Self::All(_) => Ok(()),
            Self::Sum(summed) => summed.catch_up(),
        }
    }

    /// Hands what was collected to `finish` as one combined update.
    pub fn combined<T>(&mut self, aggregator: &Aggregator, finish: impl FnOnce(&dyn Aggregate) -> T) -> T {
        match (self, &aggregator.rule) {
            (Self::All(gathered), Rule::All(rule)) => finish(&gathered.combined(&**rule)),
            (Self::Sum(summed), Rule::Mean(_)) => finish(&summed.mean()),
            (Self::All(_), Rule::Mean(_)) | (Self::Sum(_), Rule::All(_)) => {
                unreachable!("a round is collected and combined under one rule")
            }
        }
    }
}
