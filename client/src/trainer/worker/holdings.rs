//! Where a client of its own finds its examples once it knows the plan.

use std::path::PathBuf;
use std::sync::Arc;

use super::with_hint;
use crate::data::{self, Dataset, Source, TestRows};
use crate::partition::{self, Rows, Rule};
use crate::plan::Plan;

/// What a client or an evaluator of its own has.
#[derive(Debug)]
pub enum Holdings {
    /// Examples in memory, and which of them are its own.
    Loaded {
        /// Examples, possibly shared with others.
        data: Arc<Dataset>,
        /// Each below the number of examples.
        rows: Vec<u32>,
    },
    /// Examples of a source, read anew for every plan.
    Source {
        /// `digits`, `idx:DIR`, `csv:FILE`.
        source: String,
        /// Where relative paths begin.
        base: PathBuf,
        /// Which rows are kept for testing.
        test: TestRows,
        /// Which of the source's examples it takes.
        share: Share,
    },
}

/// Which of a source's examples are taken.
#[derive(Debug)]
pub enum Share {
    /// Those training rows that a partition by the plan's seed gives one client.
    Part {
        /// How rows are dealt.
        rule: Box<dyn Rule>,
        /// To whom, counted from 0.
        client: usize,
    },
    /// The test rows.
    Test,
    /// The training rows: everything, where no rows are kept for testing.
    Train,
}

impl Holdings {
    /// The examples as the plan's model sees them, and which are its own.
    ///
    /// # Errors
    /// Why there are none and what to do, as one text.
    pub(super) fn load(&self, plan: &Plan) -> Result<(Arc<Dataset>, Vec<u32>), String> {
        match self {
            Self::Loaded { data, rows } => Ok((Arc::clone(data), rows.clone())),
            Self::Source { source, base, test, share } => {
                let column = match share {
                    Share::Part { rule, .. } => rule.column(),
                    Share::Test | Share::Train => None,
                };
                let loaded = Source::parse(source).and_then(|source| source.load(base, &plan.input, column));
                let (train, tested) = loaded
                    .and_then(|loaded| loaded.split(*test))
                    .map_err(|error| with_hint(&said(&error), error.hint().as_deref()))?;
                let data = share.of(train, tested, plan)?;
                let rows = (0..u32::try_from(data.len()).expect("a data set has at most EXAMPLES_MAX rows")).collect();
                Ok((Arc::new(data), rows))
            }
        }
    }
}

impl Share {
    /// Its part alone: a client does not keep what belongs to others in memory.
    fn of(&self, train: Dataset, tested: Option<Dataset>, plan: &Plan) -> Result<Dataset, String> {
        match self {
            Self::Part { rule, client } => {
                let parts = partition::deal(&**rule, &Rows::of(&train), plan.seed)
                    .map_err(|error| with_hint(&error.to_string(), error.hint().as_deref()))?;
                if *client >= parts.clients() {
                    return Err(format!("could not take part {client} of {}, counted from 0", parts.clients()));
                }
                Ok(train.select(parts.part(*client)))
            }
            Self::Test => tested.ok_or_else(|| {
                let problem = format!("could not take test rows from {}: none are kept for testing", train.what());
                with_hint(&problem, Some("write data.test = { every = 5 }, or \"source\" for the source's own"))
            }),
            Self::Train => Ok(train),
        }
    }
}

/// The error with its cause: the operator sees one line.
fn said(error: &data::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
