//! The layers that a run file can name: one file and one row each. A layer here is its shape; its arithmetic stands in the
//! client's folder of the same name, and a test there holds the two lists equal.

mod avg_pool2d;
mod conv2d;
mod dropout;
mod embedding;
mod flatten;
mod group_norm;
mod layer_norm;
mod linear;
mod max_pool2d;
mod norm;
mod pool;
mod relu;
mod rms_norm;

pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pool::Pool;
pub use rms_norm::RmsNorm;

use super::{Parameter, Shape};
use crate::config::Row;

/// One layer of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Mean of each window.
    AvgPool2d(Pool),
    /// Two-dimensional convolution.
    Conv2d(Conv2d),
    /// Random zeros in training.
    Dropout(Dropout),
    /// A row of a table for each whole number.
    Embedding(Embedding),
    /// All dimensions of an example into one.
    Flatten,
    /// Normalisation of groups of channels.
    GroupNorm(GroupNorm),
    /// Normalisation of the last dimensions.
    LayerNorm(LayerNorm),
    /// Affine map.
    Linear(Linear),
    /// Largest value of each window.
    MaxPool2d(Pool),
    /// max(x, 0).
    Relu,
    /// Division of the last dimensions by their root mean square.
    RmsNorm(RmsNorm),
}

/// Every layer, by name.
pub const ROWS: &[Row<Layer>] = &[
    avg_pool2d::ROW,
    conv2d::ROW,
    dropout::ROW,
    embedding::ROW,
    flatten::ROW,
    group_norm::ROW,
    layer_norm::ROW,
    linear::ROW,
    max_pool2d::ROW,
    relu::ROW,
    rms_norm::ROW,
];

impl Layer {
    /// As typed in `kind = "…"`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AvgPool2d(_) => avg_pool2d::ROW.name,
            Self::Conv2d(_) => conv2d::ROW.name,
            Self::Dropout(_) => dropout::ROW.name,
            Self::Embedding(_) => embedding::ROW.name,
            Self::Flatten => flatten::ROW.name,
            Self::GroupNorm(_) => group_norm::ROW.name,
            Self::LayerNorm(_) => layer_norm::ROW.name,
            Self::Linear(_) => linear::ROW.name,
            Self::MaxPool2d(_) => max_pool2d::ROW.name,
            Self::Relu => relu::ROW.name,
            Self::RmsNorm(_) => rms_norm::ROW.name,
        }
    }

    /// The shape that leaves the layer when `input` arrives.
    ///
    /// # Errors
    /// What the layer needs instead.
    pub fn output(&self, input: &Shape) -> Result<Shape, String> {
        match self {
            Self::Conv2d(conv2d) => conv2d.output(input),
            Self::Dropout(_) | Self::Relu => Ok(input.clone()),
            Self::Embedding(embedding) => Ok(embedding.output(input)),
            Self::Flatten => Ok(vec![input.iter().product()]),
            Self::GroupNorm(norm) => norm.output(input),
            Self::LayerNorm(norm) => norm.output(input),
            Self::Linear(linear) => linear.output(input),
            Self::AvgPool2d(pool) | Self::MaxPool2d(pool) => pool.output(input),
            Self::RmsNorm(norm) => norm.output(input),
        }
    }

    /// The parameters of the layer as the `index`-th of its model, when `input` arrives; weights before biases.
    #[must_use]
    pub fn parameters(&self, index: usize, input: &Shape) -> Vec<Parameter> {
        match self {
            Self::Conv2d(conv2d) => conv2d.parameters(index, input),
            Self::Embedding(embedding) => embedding.parameters(index),
            Self::GroupNorm(_) => GroupNorm::parameters(index, input),
            Self::LayerNorm(norm) => norm.parameters(index, input),
            Self::Linear(linear) => linear.parameters(index, input),
            Self::RmsNorm(norm) => norm.parameters(index, input),
            Self::AvgPool2d(_) | Self::Dropout(_) | Self::Flatten | Self::MaxPool2d(_) | Self::Relu => Vec::new(),
        }
    }
}

/// The size that a window leaves of `size`, or why it does not fit: ⌊(size + padding − reach) / stride⌋ + 1.
fn windows(size: usize, padding: usize, reach: usize, stride: usize) -> Result<usize, String> {
    let padded = size + padding;
    if reach > padded {
        return Err(format!("a window of {reach} does not fit {padded} values"));
    }
    Ok((padded - reach) / stride + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(ROWS.is_sorted_by(|a, b| a.name < b.name));
    }
}
