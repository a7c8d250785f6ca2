//! `max_pool2d`: the largest value of each window, as in `torch.nn.MaxPool2d`.

use super::conv2d::{WINDOW_MAX, size_or};
use super::{Layer, Shape, windows};
use crate::config::Row;

pub(super) const ROW: Row<Layer> = Row {
    name: "max_pool2d",
    help: "largest value of each window; size, stride = size, padding = 0",
    parse: |table| {
        let item = table.required("size")?;
        let size = item.size(1..=WINDOW_MAX)?;
        let stride = size_or(table.optional("stride"), 1..=WINDOW_MAX, size)?;
        let padding = size_or(table.optional("padding"), 0..=size / 2, 0)?;
        Ok(Layer::MaxPool2d(MaxPool2d { size, stride, padding }))
    },
};

/// A pooling with square windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Height and width of a window.
    pub size: usize,
    /// Step between windows.
    pub stride: usize,
    /// Places on every side that never win; at most half a window.
    pub padding: usize,
}

impl MaxPool2d {
    pub(super) fn output(self, input: &Shape) -> Result<Shape, String> {
        let &[channels, height, width] = input.as_slice() else {
            return Err("it needs three dimensions: channels, height, width".to_owned());
        };
        let along = |size| windows(size, 2 * self.padding, self.size, self.stride);
        Ok(vec![channels, along(height)?, along(width)?])
    }
}
