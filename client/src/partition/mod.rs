//! Which example belongs to which simulated or demo client.
//!
//! A partition is a pure function of labels, options and seed, the same on every platform: it draws from one named stream,
//! and every other step is exact or basic arithmetic. A rule is one file and one row of [`PARTITIONS`].
//!
//! Deliberately not here: real clients, who bring their own data, and each client's own held-out share.

mod classes;
mod dirichlet;
mod dirichlet_sizes;
mod error;
mod iid;
mod natural;
mod parts;
mod quantity;
mod shards;
mod skew;

use std::fmt;

use tributary_common::config::{self, Item, Row, Table, choose};
use tributary_common::id::{Round, Seed};
use tributary_common::rng::{Purpose, Stream, stream};

use crate::data::{Dataset, EXAMPLES_MAX};

pub use error::Error;
pub use parts::Parts;
pub use skew::Skew;

/// Every rule, by name.
pub const PARTITIONS: &[Row<Box<dyn Rule>>] =
    &[classes::ROW, dirichlet::ROW, dirichlet_sizes::ROW, iid::ROW, natural::ROW, quantity::ROW, shards::ROW];

/// The fewest rows of a client where the run file names no `min`.
const MIN_DEFAULT: usize = 10;

/// A rule with its options.
pub trait Rule: fmt::Debug + Send + Sync {
    /// Deals the rows to clients.
    ///
    /// # Errors
    /// The options ask for what these rows do not give.
    fn deal(&self, rows: &Rows<'_>, stream: &mut Stream) -> Result<Parts, Error>;

    /// The column whose values part the rows, which the source must then load.
    fn column(&self) -> Option<&str> {
        None
    }
}

/// What a rule may look at: numbers only, never the examples.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Number of rows.
    pub count: usize,
    /// The class of each row; none for regression.
    pub labels: Option<Labels<'a>>,
    /// The group of each row by the values of a column, where one was loaded.
    pub groups: Option<&'a [u32]>,
}

/// The classes of rows.
#[derive(Clone, Copy)]
pub struct Labels<'a> {
    /// One for each row, below `classes`.
    pub of: &'a [u32],
    /// Number of classes.
    pub classes: usize,
}

/// Numbers only: labels are private.
impl fmt::Debug for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Labels({} of {} classes)", self.of.len(), self.classes)
    }
}

impl<'a> Rows<'a> {
    /// The rows of a data set.
    #[must_use]
    pub fn of(set: &'a Dataset) -> Self {
        let labels = set.classes().map(|of| Labels { of, classes: set.n_classes() });
        Self { count: set.len(), labels, groups: set.groups() }
    }

    /// The labels that rule `kind` cannot do without.
    fn labels(&self, kind: &'static str) -> Result<Labels<'a>, Error> {
        self.labels.ok_or(Error::NeedsClasses { kind })
    }

    /// Refuses more clients than rows, before anything is allocated for them.
    const fn enough_for(&self, clients: usize) -> Result<(), Error> {
        if clients > self.count { Err(Error::ClientsExceedRows { clients, rows: self.count }) } else { Ok(()) }
    }

    /// All rows' numbers.
    fn all(&self) -> Vec<u32> {
        (0..u32::try_from(self.count).expect("a data set has at most EXAMPLES_MAX rows")).collect()
    }
}

impl Labels<'_> {
    /// The rows of each class, in their order.
    fn rows_by_class(&self) -> Vec<Vec<u32>> {
        let mut rows = vec![Vec::new(); self.classes];
        for (row, &label) in (0..).zip(self.of) {
            rows[label as usize].push(row);
        }
        rows
    }
}

/// Reads `data.partition`.
///
/// # Errors
/// An unknown rule, unknown or impossible options.
pub fn parse(item: Item) -> Result<Box<dyn Rule>, config::Error> {
    choose::from_item(PARTITIONS, "partition", item)
}

/// Deals the rows of a data set by `rule`, from the run's stream for partitions.
///
/// # Errors
/// The options ask for what these rows do not give.
pub fn deal(rule: &dyn Rule, rows: &Rows<'_>, seed: Seed) -> Result<Parts, Error> {
    let parts = rule.deal(rows, &mut stream(seed, Round(0), None, Purpose::Partition))?;
    let empty = parts.iter().position(<[u32]>::is_empty);
    match empty {
        Some(client) => Err(Error::PartEmpty { client }),
        None => Ok(parts),
    }
}

/// `clients`, which every rule but `natural` takes.
fn clients(table: &mut Table) -> Result<usize, config::Error> {
    table.required("clients")?.size(1..=EXAMPLES_MAX)
}

/// A concentration: positive, and within what a double's gamma function can serve.
fn concentration(table: &mut Table, key: &'static str) -> Result<f64, config::Error> {
    table.required(key)?.number_in(1e-6..=1e9)
}

fn min(table: &mut Table) -> Result<usize, config::Error> {
    table.optional("min").map_or(Ok(MIN_DEFAULT), |item| item.size(1..=EXAMPLES_MAX))
}

/// Where to cut `count` rows by shares `p`: ⌊(p₁ + … + pₖ) · count⌋ for each k but the last, which takes the rest.
fn cuts(p: &[f64], count: usize) -> impl Iterator<Item = usize> + '_ {
    let mut sum = 0.0;
    p.iter().enumerate().map(move |(k, share)| {
        sum += share;
        if k + 1 == p.len() { count } else { floor(sum * real(count)).min(count) }
    })
}

#[expect(clippy::cast_precision_loss, reason = "rows are counted in 32 bits")]
const fn real(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of at most 2^32 rows")]
fn floor(value: f64) -> usize {
    value.floor() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::tests::input;
    use crate::data::{Source, TestRows};
    use std::path::Path;
    use tributary_common::config::Document;

    pub(super) fn rule(text: &str) -> Result<Box<dyn Rule>, String> {
        let mut root = Document::parse("run.toml", &format!("partition = {{ {text} }}")).unwrap().table();
        parse(root.required("partition").unwrap()).map_err(|error| format!("{error}; {}", error.hint().unwrap_or("")))
    }

    /// Labels of `count` rows in ten classes of uneven sizes.
    fn uneven(count: u32) -> Vec<u32> {
        (0..count).map(|i| (i * i + i / 7) % 10).collect()
    }

    fn dealt(text: &str, labels: &[u32], seed: u64) -> Result<Parts, Error> {
        let groups: Vec<u32> = (0..30).cycle().take(labels.len()).collect();
        let rows =
            Rows { count: labels.len(), labels: Some(Labels { of: labels, classes: 10 }), groups: Some(&groups) };
        deal(rule(text).unwrap().as_ref(), &rows, Seed(seed))
    }

    const RULES: [&str; 8] = [
        "kind = 'classes', clients = 30, per_client = 2",
        "kind = 'dirichlet', clients = 30, alpha = 0.5",
        "kind = 'dirichlet_sizes', clients = 30, alpha = 0.5",
        "kind = 'iid', clients = 30",
        "kind = 'natural', column = 'site'",
        "kind = 'quantity', clients = 30, beta = 0.5",
        "kind = 'shards', clients = 30, per_client = 2",
        "kind = 'shards', clients = 30, per_client = 2, assign = 'stride'",
    ];

    /// The golden runs' partition.
    #[test]
    fn stride_shards_of_the_digits_have_the_documented_sizes() {
        let set = Source::parse("digits").unwrap();
        let set = set.load(Path::new(""), &input("shape = [64]\ndivide = 16\nclasses = 10"), None).unwrap();
        let (train, _) = set.split(TestRows::Every(5)).unwrap();
        let rule = rule("kind = 'shards', clients = 10, per_client = 2, assign = 'stride'").unwrap();
        let parts = deal(rule.as_ref(), &Rows::of(&train), Seed(1)).unwrap();
        let sizes: Vec<usize> = parts.iter().map(<[u32]>::len).collect();
        assert_eq!(sizes, [143, 144, 144, 143, 144, 144, 143, 144, 144, 144]);
        let other = deal(rule.as_ref(), &Rows::of(&train), Seed(2)).unwrap();
        assert_eq!(parts.digest(), other.digest());
    }

    #[test]
    fn rules_are_sorted_and_unique() {
        assert!(PARTITIONS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn every_rule_deals_every_row_once_to_thirty_clients() {
        let labels = uneven(3001);
        for text in RULES {
            let parts = dealt(text, &labels, 1).unwrap();
            assert_eq!(parts.clients(), 30, "{text}");
            let mut rows: Vec<u32> = parts.iter().flatten().copied().collect();
            rows.sort_unstable();
            assert_eq!(rows, (0..3001).collect::<Vec<_>>(), "{text}");
        }
    }

    /// A changed partition silently changes every published result.
    #[test]
    fn partitions_are_pinned() {
        let labels = uneven(3001);
        let digests = RULES.map(|text| dealt(text, &labels, 1).unwrap().digest().short());
        assert_eq!(digests, PINNED);
        for text in &RULES[..7] {
            let same = dealt(text, &labels, 1).unwrap().digest() == dealt(text, &labels, 2).unwrap().digest();
            assert_eq!(same, text.contains("natural"), "{text}");
        }
    }
    const PINNED: [&str; 8] =
        ["d660448e", "61a1a7dc", "726239dd", "0ed1cdad", "7d69c7c9", "694957a8", "68fcc2ba", "f17241be"];

    #[test]
    fn shares_cut_by_floors_of_their_sums() {
        let sizes = |p: &[f64], count| {
            let mut last = 0;
            cuts(p, count).map(|cut| cut - std::mem::replace(&mut last, cut)).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[0.05, 0.62, 0.33], 11), [0, 7, 4]);
        assert_eq!(sizes(&[0.1; 10], 10).iter().sum::<usize>(), 10);
        assert_eq!(sizes(&[1.0], 3), [3]);
    }

    #[test]
    fn wrong_options_name_line_and_key() {
        for (text, expected) in [
            ("kind = 'iid'", "`partition.clients` is missing"),
            ("kind = 'iid', clients = 0", "line 1: `partition.clients` must be from 1"),
            ("kind = 'ids', clients = 3", "did you mean `iid`?"),
            ("kind = 'dirichlet', clients = 3", "`partition.alpha` is missing"),
            ("kind = 'dirichlet', clients = 3, alpha = 0", "`partition.alpha` must be"),
            ("kind = 'shards', clients = 3, assign = 'strid'", "did you mean `stride`?"),
            ("kind = 'quantity', clients = 3, bta = 1", "did you mean `beta`?"),
            ("kind = 'iid', clients = 3, alpha = 1", "unknown key `alpha`"),
        ] {
            let error = rule(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn rows_that_cannot_be_dealt_so_are_refused_with_a_hint() {
        let labels = uneven(100);
        for (text, expected) in [
            ("kind = 'iid', clients = 101", "101 clients, there are 100 rows"),
            ("kind = 'shards', clients = 51, per_client = 2", "102 shards, there are 100 rows"),
            ("kind = 'shards', clients = 4000000000, per_client = 4000000000", "shards, there are 100 rows"),
            ("kind = 'classes', clients = 5, per_client = 11", "11 classes a client, there are 10"),
            ("kind = 'dirichlet', clients = 11, alpha = 1", "at least 10 rows for each of 11 clients, there are 100"),
            ("kind = 'quantity', clients = 11, beta = 1", "at least 10 rows for each of 11 clients, there are 100"),
        ] {
            let error = dealt(text, &labels, 1).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
        let plain = Rows { count: 100, labels: None, groups: None };
        for text in RULES {
            let result = deal(rule(text).unwrap().as_ref(), &plain, Seed(1));
            let label_free = text.contains("iid");
            assert!(result.is_err() != label_free, "{text}");
        }
    }
}
