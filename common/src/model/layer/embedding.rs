//! `embedding`: every whole number of the input becomes its row of a table, as in `torch.nn.Embedding`.

use super::linear::OUT_MAX;
use super::{Layer, Parameter, Shape};
use crate::config::Row;
use crate::model::initial::Kind;

/// The most rows of a table: examples are held in single precision, which has every whole number up to here.
pub(super) const COUNT_MAX: usize = 1 << 24;

pub(super) const ROW: Row<Layer> = Row {
    name: "embedding",
    help: "a row of a table for each whole number of the input; count = rows, out = values of a row",
    parse: |table| {
        let count = table.required("count")?.size(1..=COUNT_MAX)?;
        Ok(Layer::Embedding(Embedding { count, out: table.required("out")?.size(1..=OUT_MAX)? }))
    },
};

/// A table that is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// Rows: indices are below it.
    pub count: usize,
    /// Values of a row.
    pub out: usize,
}

impl Embedding {
    pub(super) fn output(self, input: &Shape) -> Shape {
        [input.as_slice(), &[self.out]].concat()
    }

    pub(super) fn parameters(self, index: usize) -> Vec<Parameter> {
        vec![Parameter {
            name: format!("{index}.weight"),
            shape: vec![self.count, self.out],
            fan_in: self.count,
            fan_out: self.out,
            kind: Kind::Table,
        }]
    }
}
