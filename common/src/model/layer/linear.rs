//! `linear`: y = x Wᵀ + b, with W of shape (out, in) as in `torch.nn.Linear`.

use super::{Layer, Parameter, Shape};
use crate::config::Row;
use crate::model::initial::Kind;

/// The most outputs of a layer.
pub(super) const OUT_MAX: usize = 1 << 24;

pub(super) const ROW: Row<Layer> = Row {
    name: "linear",
    help: "affine map; out = outputs, bias = true",
    parse: |table| {
        let out = table.required("out")?.size(1..=OUT_MAX)?;
        let bias = table.optional("bias").map_or(Ok(true), |item| item.flag())?;
        Ok(Layer::Linear(Linear { out, bias }))
    },
};

/// An affine map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Number of outputs.
    pub out: usize,
    /// Whether something is added.
    pub bias: bool,
}

impl Linear {
    pub(super) fn output(self, input: &Shape) -> Result<Shape, String> {
        match input.len() {
            1 => Ok(vec![self.out]),
            _ => Err("it needs one dimension, put a layer of kind `flatten` before it".to_owned()),
        }
    }

    pub(super) fn parameters(self, index: usize, input: &Shape) -> Vec<Parameter> {
        let (fan_in, fan_out) = (input[0], self.out);
        let of = |word: &str, shape: Vec<usize>, kind| Parameter {
            name: format!("{index}.{word}"),
            shape,
            fan_in,
            fan_out,
            kind,
        };
        let mut all = vec![of("weight", vec![self.out, fan_in], Kind::Weight)];
        if self.bias {
            all.push(of("bias", vec![self.out], Kind::Bias));
        }
        all
    }
}
