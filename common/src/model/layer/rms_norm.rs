//! `rms_norm`: the last dimensions divided by their root mean square (Zhang and Sennrich 2019), as in `torch.nn.RMSNorm`.

use super::{Layer, Parameter, Shape, norm};
use crate::config::Row;
use crate::model::initial::Kind;
use crate::parameters::Dtype;

pub(super) const ROW: Row<Layer> = Row {
    name: "rms_norm",
    help: "divides the last dimensions by their root mean square; dims = 1, eps = that of the type",
    parse: |table| {
        let dims = norm::dims(table)?;
        Ok(Layer::RmsNorm(RmsNorm { dims, eps: norm::eps(table)? }))
    },
};

/// A division of the last dimensions by their root mean square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsNorm {
    /// How many of them.
    pub dims: usize,
    /// What is added to the mean of squares, above 0; by default that of the type, see [`RmsNorm::eps_in`].
    pub eps: Option<f64>,
}

impl RmsNorm {
    /// What is added to the mean of squares in a model of this type: by default the distance from 1 to the next value of
    /// the type in which it computes, as in PyTorch.
    #[must_use]
    pub fn eps_in(self, dtype: Dtype) -> f64 {
        self.eps.unwrap_or(match dtype {
            Dtype::F64 => f64::EPSILON,
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => f64::from(f32::EPSILON),
        })
    }

    pub(super) fn output(self, input: &Shape) -> Result<Shape, String> {
        norm::last(input, self.dims).map(|_| input.clone())
    }

    pub(super) fn parameters(self, index: usize, input: &Shape) -> Vec<Parameter> {
        norm::parameters(index, norm::last(input, self.dims).unwrap_or_default(), &[Kind::Scale])
    }
}
