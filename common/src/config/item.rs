//! One value of a run file with its place.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Error, Table};

/// A value as it was typed, and the line it stands on (none: given by `--set`).
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: Option<usize>,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Flag(bool),
    Float(f64),
    Integer(i64),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
    Text(String),
}

impl Value {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "a boolean",
            Self::Float(_) => "a float",
            Self::Integer(_) => "an integer",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Text(_) => "a string",
        }
    }
}

impl Node {
    /// The node as inline TOML with sorted keys: two files that mean the same give the same text.
    pub(super) fn write_canonical(&self, out: &mut String) {
        match &self.value {
            Value::Flag(flag) => _ = write!(out, "{flag}"),
            Value::Float(number) => _ = write!(out, "{}", toml::Value::Float(*number)),
            Value::Integer(number) => _ = write!(out, "{number}"),
            Value::Text(text) => _ = write!(out, "{}", toml::Value::String(text.clone())),
            Value::List(nodes) => {
                out.push('[');
                for (i, node) in nodes.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    node.write_canonical(out);
                }
                out.push(']');
            }
            Value::Table(entries) => {
                out.push('{');
                for (i, (key, node)) in entries.iter().enumerate() {
                    _ = write!(out, "{}{} = ", if i == 0 { "" } else { ", " }, toml::Value::String(key.clone()));
                    node.write_canonical(out);
                }
                out.push('}');
            }
        }
    }
}

/// A value that was taken out of a table, to be read as one type or refused with its place.
#[derive(Clone, Debug)]
pub struct Item {
    pub(super) file: Arc<str>,
    /// The dotted path of keys, for messages.
    pub(super) path: String,
    pub(super) node: Node,
}

impl Item {
    /// A problem at this place.
    #[must_use]
    pub fn fail(&self, problem: impl Into<String>) -> Error {
        Error { file: self.file.to_string(), line: self.node.line, problem: problem.into(), hint: None }
    }

    fn expected(&self, what: &str) -> Error {
        self.fail(format!("`{}` must be {what}, found {}", self.path, self.node.value.kind()))
    }

    /// Whether the value is a string: where a key takes a word or a number.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    /// Whether the value is a list.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Whether the value is a table.
    #[must_use]
    pub const fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// The value as a string.
    ///
    /// # Errors
    /// The value is something else.
    pub fn text(&self) -> Result<&str, Error> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.expected("a string")),
        }
    }

    /// The value as a boolean.
    ///
    /// # Errors
    /// The value is something else.
    pub fn flag(&self) -> Result<bool, Error> {
        match self.node.value {
            Value::Flag(flag) => Ok(flag),
            _ => Err(self.expected("true or false")),
        }
    }

    /// The value as a whole number in `range`.
    ///
    /// # Errors
    /// The value is something else or outside.
    pub fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, Error> {
        let Value::Integer(number) = self.node.value else { return Err(self.expected("an integer")) };
        u64::try_from(number).ok().filter(|n| range.contains(n)).ok_or_else(|| {
            let (low, high) = range.clone().into_inner();
            if high == u64::MAX {
                self.fail(format!("`{}` must be at least {low}, found {number}", self.path))
            } else {
                self.fail(format!("`{}` must be from {low} to {high}, found {number}", self.path))
            }
        })
    }

    /// The value as a size: an integer in `range` that fits this machine's memory addresses.
    ///
    /// # Errors
    /// The value is something else or outside.
    pub fn size(&self, range: RangeInclusive<usize>) -> Result<usize, Error> {
        let (low, high) = range.into_inner();
        let number = self.integer(low as u64..=high as u64)?;
        usize::try_from(number).map_err(|_| self.fail(format!("`{}` is too large for this machine", self.path)))
    }

    /// The value as a finite number; integers count.
    ///
    /// # Errors
    /// The value is something else, infinite or not a number.
    pub fn number(&self) -> Result<f64, Error> {
        match self.node.value {
            Value::Float(number) if number.is_finite() => Ok(number),
            Value::Float(number) => Err(self.fail(format!("`{}` must be finite, found {number}", self.path))),
            #[expect(clippy::cast_precision_loss, reason = "a typed integer above 2^53 rounds like a typed float")]
            Value::Integer(number) => Ok(number as f64),
            _ => Err(self.expected("a number")),
        }
    }

    /// The value as a number in `range`.
    ///
    /// # Errors
    /// The value is something else or outside.
    pub fn number_in(&self, range: RangeInclusive<f64>) -> Result<f64, Error> {
        let number = self.number()?;
        if range.contains(&number) {
            return Ok(number);
        }
        let (low, high) = range.into_inner();
        let is_smallest = [f64::MIN_POSITIVE, f64::from(f32::MIN_POSITIVE)].contains(&low);
        let must = if is_smallest && number <= 0.0 {
            "above 0".to_owned()
        } else if high.is_infinite() {
            format!("at least {}", readable(low))
        } else {
            format!("from {} to {}", readable(low), readable(high))
        };
        Err(self.fail(format!("`{}` must be {must}, found {}", self.path, readable(number))))
    }

    /// The value as a list of items.
    ///
    /// # Errors
    /// The value is something else.
    pub fn list(self) -> Result<Vec<Self>, Error> {
        match self.node.value {
            Value::List(nodes) => Ok(nodes
                .into_iter()
                .enumerate()
                .map(|(i, node)| Self { file: Arc::clone(&self.file), path: format!("{}[{i}]", self.path), node })
                .collect()),
            _ => Err(self.expected("a list")),
        }
    }

    /// The value as a table.
    ///
    /// # Errors
    /// The value is something else.
    pub fn table(self) -> Result<Table, Error> {
        match self.node.value {
            Value::Table(entries) => Ok(Table::new(self.file, self.path, self.node.line, entries)),
            _ => Err(self.expected("a table")),
        }
    }
}

/// A number in as many digits as tell it, in scientific notation where it would be a row of zeros.
fn readable(number: f64) -> String {
    match number.abs() {
        0.0 | 1e-4..1e9 => number.to_string(),
        _ => format!("{number:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Document;

    /// What goes wrong without it: a bound is a row of forty zeros that nobody reads.
    #[test]
    fn numbers_outside_of_their_range_are_told_their_bounds_readably() {
        let tiny = f64::from(f32::MIN_POSITIVE);
        for (text, range, expected) in [
            ("0", tiny..=f64::from(f32::MAX), "must be above 0, found 0"),
            ("-1.5", f64::MIN_POSITIVE..=f64::INFINITY, "must be above 0, found -1.5"),
            ("1e39", tiny..=f64::from(f32::MAX), "from 1.1754943508222875e-38 to 3.4028234663852886e38, found 1e39"),
            ("-1", 0.0..=1.0, "must be from 0 to 1, found -1"),
            ("1e-5", 1e-4..=f64::INFINITY, "must be at least 0.0001, found 1e-5"),
        ] {
            let mut table = Document::parse("a.toml", &format!("x = {text}")).unwrap().table();
            let error = table.required("x").unwrap().number_in(range).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
