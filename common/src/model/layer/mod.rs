//! The layers that a run file can name: one file and one row each. A layer here is its shape; its arithmetic stands in the
//! client's folder of the same name, and a test there holds the two lists equal.

mod conv2d;
mod dropout;
mod flatten;
mod linear;
mod max_pool2d;
mod relu;

pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use linear::Linear;
pub use max_pool2d::MaxPool2d;

use super::{Parameter, Shape};
use crate::config::Row;

/// One layer of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Two-dimensional convolution.
    Conv2d(Conv2d),
    /// Random zeros in training.
    Dropout(Dropout),
    /// All dimensions of an example into one.
    Flatten,
    /// Affine map.
    Linear(Linear),
    /// Largest value of each window.
    MaxPool2d(MaxPool2d),
    /// max(x, 0).
    Relu,
}

/// Every layer, by name.
pub const ROWS: &[Row<Layer>] = &[conv2d::ROW, dropout::ROW, flatten::ROW, linear::ROW, max_pool2d::ROW, relu::ROW];

impl Layer {
    /// As typed in `kind = "…"`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => conv2d::ROW.name,
            Self::Dropout(_) => dropout::ROW.name,
            Self::Flatten => flatten::ROW.name,
            Self::Linear(_) => linear::ROW.name,
            Self::MaxPool2d(_) => max_pool2d::ROW.name,
            Self::Relu => relu::ROW.name,
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
            Self::Flatten => Ok(vec![input.iter().product()]),
            Self::Linear(linear) => linear.output(input),
            Self::MaxPool2d(pool) => pool.output(input),
        }
    }

    /// The parameters of the layer as the `index`-th of its model, when `input` arrives; weights before biases.
    #[must_use]
    pub fn parameters(&self, index: usize, input: &Shape) -> Vec<Parameter> {
        match self {
            Self::Conv2d(conv2d) => conv2d.parameters(index, input),
            Self::Linear(linear) => linear.parameters(index, input),
            Self::Dropout(_) | Self::Flatten | Self::MaxPool2d(_) | Self::Relu => Vec::new(),
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
