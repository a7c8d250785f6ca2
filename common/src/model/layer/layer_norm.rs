//! `layer_norm`: the last dimensions to mean 0 and variance 1 (Ba et al. 2016), as in `torch.nn.LayerNorm`.

use super::{Layer, Parameter, Shape, norm};
use crate::config::Row;
use crate::model::initial::Kind;

pub(super) const ROW: Row<Layer> = Row {
    name: "layer_norm",
    help: "normalises the last dimensions; dims = 1, eps = 1e-5",
    parse: |table| {
        let dims = norm::dims(table)?;
        Ok(Layer::LayerNorm(LayerNorm { dims, eps: norm::eps(table)?.unwrap_or(norm::EPS) }))
    },
};

/// A normalisation over the last dimensions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// How many of them.
    pub dims: usize,
    /// What is added to the variance, above 0.
    pub eps: f64,
}

impl LayerNorm {
    pub(super) fn output(self, input: &Shape) -> Result<Shape, String> {
        norm::last(input, self.dims).map(|_| input.clone())
    }

    pub(super) fn parameters(self, index: usize, input: &Shape) -> Vec<Parameter> {
        let last = norm::last(input, self.dims).unwrap_or_default();
        norm::parameters(index, last, &[Kind::Scale, Kind::Shift])
    }
}
