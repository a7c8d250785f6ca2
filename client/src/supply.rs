//! `[data]`: what simulated and demo clients hold, and which part of it one client of that name has.

use std::path::PathBuf;
use std::sync::Arc;

use tributary_common::config::{self, Item, Table};
use tributary_common::id::Seed;
use tributary_common::model::Input;

use crate::data::{self, Dataset, Source, TestRows};
use crate::partition::{self, Parts, Rows, Rule};

/// Where examples come from and how they are dealt.
#[derive(Debug)]
pub struct Supply {
    source: String,
    base: PathBuf,
    test: TestRows,
    rule: Box<dyn Rule>,
}

/// The examples, read and dealt.
#[derive(Clone, Debug)]
pub struct Dealt {
    /// What clients train on.
    pub train: Arc<Dataset>,
    /// What an evaluator measures on.
    pub test: Option<Arc<Dataset>>,
    /// Which training examples each client has.
    pub parts: Arc<Parts>,
}

/// Data that cannot be read or dealt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// They cannot be read.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// They cannot be dealt.
    #[error(transparent)]
    Partition(#[from] partition::Error),
}

impl Error {
    /// What to do, where the problem suggests it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(error) => error.hint(),
            Self::Partition(error) => error.hint(),
        }
    }
}

impl Supply {
    /// Reads `[data]`; relative paths begin at `base`. `holdout` belongs to the plan and is left to it.
    ///
    /// # Errors
    /// Unknown keys, sources or partitions.
    pub fn parse(mut table: Table, base: PathBuf) -> Result<Self, config::Error> {
        let source = table.required("source")?;
        let test = table.optional("test").map_or(Ok(TestRows::None), TestRows::parse)?;
        let rule = partition::parse(table.required("partition")?)?;
        drop(table.optional("holdout"));
        table.finish()?;
        let text = source.text()?.to_owned();
        check(&text, &source)?;
        Ok(Self { source: text, base, test, rule })
    }

    /// Reads and deals the examples.
    ///
    /// # Errors
    /// Files that are missing or broken, or a partition that these examples do not give.
    pub fn load(&self, input: &Input, seed: Seed) -> Result<Dealt, Error> {
        let loaded = Source::parse(&self.source)?.load(&self.base, input, self.rule.column())?;
        let (train, test) = loaded.split(self.test)?;
        let parts = partition::deal(&*self.rule, &Rows::of(&train), seed)?;
        Ok(Dealt { train: Arc::new(train), test: test.map(Arc::new), parts: Arc::new(parts) })
    }
}

fn check(text: &str, place: &Item) -> Result<(), config::Error> {
    Source::parse(text).map(drop).map_err(|error| {
        let failed = place.fail(error.to_string());
        match error.hint() {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    })
}
