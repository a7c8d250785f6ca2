//! How the updates of a round become one: one file and one row for every rule.
//!
//! A rule declares what it needs of the updates, so that memory is known when the run file is read. The mean needs their
//! sum only; it is exact, whatever the order. Other rules look at all updates, block by block ([`Combine`]).

mod collected;
mod combine;
mod gathered;
mod kept;
mod mean;
mod median;
mod scratch;
mod summed;

pub use collected::{Aggregate, Collected, Coordinates, Error};
pub use combine::Combine;
pub use gathered::{Combined, Gathered};
pub use kept::Kept;
pub use mean::Weights;
pub use summed::Summed;

use std::sync::Arc;

use tributary_common::config::{self, Item, Row, Table, choose};
use tributary_common::sum::{BITS_DEFAULT, BITS_MAX, BLOCK, Weight};

use crate::round::WEIGHT_MAX;
use crate::spread::THREADS_MAX;

/// A rule with its options.
#[derive(Clone, Debug)]
pub struct Aggregator {
    /// The rule.
    pub rule: Rule,
    /// Fractional bits of the exact sum: 2^-bits is the resolution of a coordinate.
    pub bits: u32,
    /// An update counts as if it was trained on at most so many examples: a client states its number itself. Default 2^32,
    /// which is no cap.
    pub max_examples: u64,
}

/// A way to combine updates.
#[derive(Clone, Debug)]
pub enum Rule {
    /// A rule that looks at all updates, ours or one's own.
    All(Arc<dyn Combine>),
    /// The weighted mean.
    Mean(Weights),
}

/// Every rule, by name.
pub const ROWS: &[Row<Rule>] = &[mean::ROW, median::ROW];

/// What a rule needs of the updates, and with it the coordinator's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// All of them until the round closes: their size on the coordinator's disk, one block of each in memory.
    All,
    /// Their exact sum: 8 bytes a parameter, however many clients.
    Sum,
}

impl Aggregator {
    /// Reads `[aggregate]`; without it the mean by examples.
    ///
    /// # Errors
    /// Unknown rules or keys.
    pub fn parse(mut table: Table) -> Result<Self, config::Error> {
        let bits = match table.optional("resolution_bits") {
            Some(item) => {
                let bits = item.integer(1..=u64::from(BITS_MAX))?;
                u32::try_from(bits).expect("bounded by BITS_MAX")
            }
            None => BITS_DEFAULT,
        };
        let max_examples =
            table.optional("max_examples").map_or(Ok(WEIGHT_MAX), |item| item.integer(1..=WEIGHT_MAX))?;
        let rule = match table.optional("rule") {
            Some(item) => rule(&item, &mut table)?,
            None => (mean::ROW.parse)(&mut table)?,
        };
        table.finish()?;
        Ok(Self { rule, bits, max_examples })
    }

    /// What the rule needs of the updates.
    #[must_use]
    pub const fn needs(&self) -> Needs {
        match self.rule {
            Rule::All(_) => Needs::All,
            Rule::Mean(_) => Needs::Sum,
        }
    }

    /// Whether updates of a run file's rule may weigh differently: not where each counts alike.
    #[must_use]
    pub const fn weighs(&self) -> bool {
        matches!(self.rule, Rule::Mean(Weights::Examples))
    }

    /// Memory that a round's updates take on the coordinator at most, in bytes, for a model of `parameters` and a cohort of
    /// `clients`: the exact sum, or a block of every update for each thread.
    #[must_use]
    pub const fn memory(&self, parameters: u64, clients: u64) -> u64 {
        match self.needs() {
            Needs::All => clients.saturating_mul((THREADS_MAX * BLOCK * size_of::<f64>()) as u64),
            Needs::Sum => parameters.saturating_mul(size_of::<i64>() as u64),
        }
    }

    /// What updates that will be trained on so many examples will weigh; 0 for a number that no update may have.
    #[must_use]
    pub fn announced(&self, examples: u64) -> u64 {
        self.weight(examples).map_or(0, Weight::get)
    }

    /// The weight in the sum of an update that was trained on `examples` (at least 1, at most 2^32): never more
    /// than [`Self::max_examples`].
    ///
    /// # Errors
    /// No examples, or too many.
    pub fn weight(&self, examples: u64) -> Result<Weight, tributary_common::sum::Error> {
        match self.rule {
            Rule::All(_) | Rule::Mean(Weights::Examples) => {
                // An absurd number is refused as such, not cut to a good one.
                Weight::new(examples).and_then(|_| Weight::new(examples.min(self.max_examples)))
            }
            Rule::Mean(Weights::Uniform) => Weight::new(examples).map(|_| Weight::ONE),
        }
    }
}

fn rule(item: &Item, table: &mut Table) -> Result<Rule, config::Error> {
    (choose::find(ROWS, "aggregation rule", item)?.parse)(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::config::Document;

    fn parse(text: &str) -> Result<Aggregator, config::Error> {
        Aggregator::parse(Document::parse("a.toml", text).unwrap().table().section("aggregate").unwrap())
    }

    #[test]
    fn rules_are_read_and_mistakes_named() {
        let mean = parse("").unwrap();
        assert!(matches!(mean, Aggregator { rule: Rule::Mean(Weights::Examples), bits: 40, max_examples: WEIGHT_MAX }));
        assert_eq!(mean.needs(), Needs::Sum);
        assert_eq!(mean.memory(1000, 50), 8000);
        let median = parse("[aggregate]\nrule = 'median'").unwrap();
        assert_eq!(median.needs(), Needs::All);
        assert_eq!(median.memory(1_000_000_000, 50), 8 * 50 * 32 * 1024);
        assert!(parse("[aggregate]\nrule = 'median'\nweights = 'uniform'").is_err());
        let uniform = parse("[aggregate]\nrule = 'mean'\nweights = 'uniform'").unwrap();
        assert_eq!(uniform.weight(600).unwrap(), Weight::ONE);
        assert!(uniform.weight(0).is_err());
        let capped = parse("[aggregate]\nmax_examples = 500").unwrap();
        let weight = |examples| capped.weight(examples).ok().map(Weight::get);
        assert_eq!([1, 500, 501, WEIGHT_MAX].map(weight), [Some(1), Some(500), Some(500), Some(500)]);
        assert_eq!([0, WEIGHT_MAX + 1].map(weight), [None, None], "an absurd number is not cut to a good one");
        assert!(parse("[aggregate]\nmax_examples = 0").is_err());
        let error = parse("[aggregate]\n\nrule = 'maen'").unwrap_err();
        assert_eq!(error.to_string(), "run file `a.toml`, line 3: unknown aggregation rule `maen`");
        assert!(error.hint().unwrap().starts_with("did you mean `mean`?"));
        assert!(parse("[aggregate]\nresolution_bits = 60").is_err());
    }
}
