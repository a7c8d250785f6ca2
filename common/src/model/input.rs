//! `[input]`: what every client feeds the model. It travels to real clients with the plan.

use super::Shape;
use crate::config::{Error, Item, Table};

/// The most classes: as many as metrics count, so that whatever can be trained can be measured.
pub const CLASSES_MAX: usize = crate::metrics::CLASSES_MAX as usize;

/// The most values of one example.
pub const EXAMPLE_VALUES_MAX: usize = 1 << 26;

/// Classes of a classification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Classes {
    /// Labels are the numbers from 0 to one below this.
    Count(usize),
    /// Labels are these words, or their indices.
    Names(Vec<String>),
}

impl Classes {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Names(names) => names.len(),
        }
    }

    /// The name of class `index`.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        match self {
            Self::Count(_) => index.to_string(),
            Self::Names(names) => names.get(index).cloned().unwrap_or_else(|| index.to_string()),
        }
    }
}

/// Constants of a standardisation: x ← (x − mean) / std, one of each per value of an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardise {
    /// What is subtracted.
    pub mean: Vec<f64>,
    /// What it is divided by; positive.
    pub std: Vec<f64>,
}

/// What an example is and how it becomes the model's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Sizes of an example's dimensions.
    pub shape: Shape,
    /// Every value is divided by this.
    pub divide: f64,
    /// Per-value constants, applied after the division.
    pub standardise: Option<Standardise>,
    /// The classes; none for regression on one output.
    pub classes: Option<Classes>,
    /// The column of a table that holds the label; by default the last one.
    pub label: Option<String>,
    /// Columns of a table that are not fed to the model.
    pub drop: Vec<String>,
    /// Every value is a whole number below this, because the model looks it up ([`super::Model::indices_below`]); none in
    /// `[input]` itself, whoever reads the model too sets it.
    pub indices_below: Option<usize>,
}

impl Input {
    /// Reads `[input]`.
    ///
    /// # Errors
    /// Unknown keys, impossible values, constants whose number is not the number of values.
    pub fn parse(mut table: Table) -> Result<Self, Error> {
        let item = table.required("shape")?;
        let place = item.clone();
        let shape: Shape =
            item.list()?.iter().map(|size| size.size(1..=EXAMPLE_VALUES_MAX)).collect::<Result<_, _>>()?;
        let values = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
        if shape.is_empty() || shape.len() > 4 || values.is_none_or(|values| values > EXAMPLE_VALUES_MAX) {
            let why = format!("`input.shape` must have 1 to 4 sizes and at most {EXAMPLE_VALUES_MAX} values");
            return Err(place.fail(why));
        }
        let divide = match table.optional("divide") {
            Some(item) => item.number_in(f64::MIN_POSITIVE..=f64::INFINITY)?,
            None => 1.0,
        };
        let standardise = standardise(&mut table, values.unwrap_or_default())?;
        let classes = table.optional("classes").map(classes).transpose()?;
        let label = table.optional("label").map(|item| item.text().map(str::to_owned)).transpose()?;
        let drop = table.optional("drop").map_or_else(|| Ok(Vec::new()), texts)?;
        table.finish()?;
        Ok(Self { shape, divide, standardise, classes, label, drop, indices_below: None })
    }

    /// Number of values of one example.
    #[must_use]
    pub fn values(&self) -> usize {
        self.shape.iter().product()
    }
}

fn standardise(table: &mut Table, values: usize) -> Result<Option<Standardise>, Error> {
    let (mean, std) = match (table.optional("mean"), table.optional("std")) {
        (None, None) => return Ok(None),
        (Some(mean), Some(std)) => (mean, std),
        (Some(item), None) | (None, Some(item)) => {
            return Err(item.fail("`input.mean` and `input.std` come together").with_hint("give both, or neither"));
        }
    };
    let numbers = |item: Item, range: std::ops::RangeInclusive<f64>| {
        let place = item.clone();
        let list: Vec<f64> = item.list()?.iter().map(|item| item.number_in(range.clone())).collect::<Result<_, _>>()?;
        if list.len() == values {
            Ok(list)
        } else {
            Err(place.fail(format!("{} constants for {values} values of an example", list.len())))
        }
    };
    Ok(Some(Standardise {
        mean: numbers(mean, f64::MIN..=f64::MAX)?,
        std: numbers(std, f64::MIN_POSITIVE..=f64::MAX)?,
    }))
}

fn classes(item: Item) -> Result<Classes, Error> {
    if !item.is_list() {
        return Ok(Classes::Count(item.size(2..=CLASSES_MAX)?));
    }
    let place = item.clone();
    let names = texts(item)?;
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if names.len() < 2 || names.len() > CLASSES_MAX || sorted.len() != names.len() {
        return Err(place.fail(format!("`input.classes` must name 2 to {CLASSES_MAX} different classes")));
    }
    Ok(Classes::Names(names))
}

fn texts(item: Item) -> Result<Vec<String>, Error> {
    item.list()?.iter().map(|item| item.text().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Document;

    fn check(text: &str, expected: Result<(), &str>) {
        let table = Document::parse("i.toml", &format!("[input]\n{text}")).unwrap().table().section("input").unwrap();
        match (Input::parse(table), expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (result, _) => panic!("{text}: {result:?}"),
        }
    }

    #[test]
    fn impossible_inputs_are_refused() {
        check("shape = [64]\ndivide = 16\nclasses = 10", Ok(()));
        check("shape = [2]\nmean = [1, 2]\nstd = [1, 0.5]\nclasses = ['no', 'yes']", Ok(()));
        check("divide = 16", Err("`input.shape` is missing"));
        check("shape = []", Err("1 to 4 sizes"));
        check("shape = [0]", Err("from 1"));
        check("shape = [67108864, 67108864]", Err("at most"));
        check("shape = [64]\ndivide = 0", Err("above 0"));
        check("shape = [2]\nmean = [1, 2]", Err("come together"));
        check("shape = [2]\nmean = [1]\nstd = [1, 1]", Err("1 constants for 2 values"));
        check("shape = [2]\nmean = [1, 1]\nstd = [1, 0]", Err("input.std[1]"));
        check("shape = [2]\nclasses = 1", Err("from 2"));
        check("shape = [2]\nclasses = ['a', 'a']", Err("different"));
        check("shape = [2]\nclases = 2", Err("unknown key `clases`"));
    }
}
