//! What both poolings share: a square window and how it moves.

use super::conv2d::{WINDOW_MAX, size_or};
use super::{Shape, windows};
use crate::config::{Error, Table};

/// A pooling with square windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Height and width of a window.
    pub size: usize,
    /// Step between windows.
    pub stride: usize,
    /// Places on every side that belong to no channel; at most half a window.
    pub padding: usize,
}

impl Pool {
    pub(super) fn parse(table: &mut Table) -> Result<Self, Error> {
        let size = table.required("size")?.size(1..=WINDOW_MAX)?;
        let stride = size_or(table.optional("stride"), 1..=WINDOW_MAX, size)?;
        let padding = size_or(table.optional("padding"), 0..=size / 2, 0)?;
        Ok(Self { size, stride, padding })
    }

    pub(super) fn output(self, input: &Shape) -> Result<Shape, String> {
        let &[channels, height, width] = input.as_slice() else {
            return Err("it needs three dimensions: channels, height, width".to_owned());
        };
        let along = |size| windows(size, 2 * self.padding, self.size, self.stride);
        Ok(vec![channels, along(height)?, along(width)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_follow_stride_and_padding() {
        let check = |size, stride, padding, input: [usize; 3], expected: Option<[usize; 3]>| {
            let pool = Pool { size, stride, padding };
            assert_eq!(pool.output(&input.to_vec()).ok(), expected.map(|shape| shape.to_vec()), "{pool:?}");
        };
        check(2, 2, 0, [3, 7, 9], Some([3, 3, 4]));
        check(3, 2, 1, [3, 7, 9], Some([3, 4, 5]));
        check(7, 7, 0, [3, 7, 7], Some([3, 1, 1]));
        check(8, 8, 0, [3, 7, 7], None);
    }
}
