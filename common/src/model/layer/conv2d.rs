//! `conv2d`: cross-correlation over height and width, weights of shape (out, in/groups, kernel, kernel) as in
//! `torch.nn.Conv2d`.

use super::linear::OUT_MAX;
use super::{Layer, Parameter, Shape, windows};
use crate::config::{Error, Item, Row, Table};
use crate::model::initial::Kind;

/// The largest kernel, stride, padding and dilation.
pub(super) const WINDOW_MAX: usize = 1024;

pub(super) const ROW: Row<Layer> = Row {
    name: "conv2d",
    help: "convolution; out, kernel, stride = 1, padding = 0 or \"same\", dilation = 1, groups = 1, bias = true",
    parse: |table| parse(table).map(Layer::Conv2d),
};

/// A convolution with square kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Number of output channels.
    pub out: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Zeros on every side; "same" is (kernel − 1)·dilation / 2 for odd reach.
    pub padding: usize,
    /// Step inside a window.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether something is added.
    pub bias: bool,
}

fn parse(table: &mut Table) -> Result<Conv2d, Error> {
    let out = table.required("out")?.size(1..=OUT_MAX)?;
    let kernel = table.required("kernel")?.size(1..=WINDOW_MAX)?;
    let stride = size_or(table.optional("stride"), 1..=WINDOW_MAX, 1)?;
    let padding = table.optional("padding");
    let dilation = size_or(table.optional("dilation"), 1..=WINDOW_MAX, 1)?;
    let groups = size_or(table.optional("groups"), 1..=OUT_MAX, 1)?;
    let bias = table.optional("bias").map_or(Ok(true), |item| item.flag())?;
    let padding = match padding {
        Some(item) if item.is_text() => same(&item, kernel, stride, dilation)?,
        other => size_or(other, 0..=WINDOW_MAX, 0)?,
    };
    Ok(Conv2d { out, kernel, stride, padding, dilation, groups, bias })
}

/// The padding that keeps the size; as in PyTorch only without stride, and here only for an odd reach.
fn same(item: &Item, kernel: usize, stride: usize, dilation: usize) -> Result<usize, Error> {
    if item.text()? != "same" {
        return Err(item.fail("`padding` must be a number or \"same\""));
    }
    let reach = (kernel - 1) * dilation;
    if stride != 1 || !reach.is_multiple_of(2) {
        return Err(item
            .fail("padding \"same\" needs stride 1 and an odd kernel")
            .with_hint("give the padding as a number"));
    }
    Ok(reach / 2)
}

pub(super) fn size_or(
    item: Option<Item>,
    range: std::ops::RangeInclusive<usize>,
    default: usize,
) -> Result<usize, Error> {
    item.map_or(Ok(default), |item| item.size(range))
}

impl Conv2d {
    pub(super) fn output(self, input: &Shape) -> Result<Shape, String> {
        let &[channels, height, width] = input.as_slice() else {
            return Err("it needs three dimensions: channels, height, width".to_owned());
        };
        if !channels.is_multiple_of(self.groups) || !self.out.is_multiple_of(self.groups) {
            return Err(format!("{} groups do not divide {channels} and {} channels", self.groups, self.out));
        }
        let reach = (self.kernel - 1) * self.dilation + 1;
        let along = |size| windows(size, 2 * self.padding, reach, self.stride);
        Ok(vec![self.out, along(height)?, along(width)?])
    }

    pub(super) fn parameters(self, index: usize, input: &Shape) -> Vec<Parameter> {
        let window = self.kernel * self.kernel;
        let (fan_in, fan_out) = (input[0] / self.groups * window, self.out / self.groups * window);
        let of = |word: &str, shape: Vec<usize>, kind| Parameter {
            name: format!("{index}.{word}"),
            shape,
            fan_in,
            fan_out,
            kind,
        };
        let mut all =
            vec![of("weight", vec![self.out, input[0] / self.groups, self.kernel, self.kernel], Kind::Weight)];
        if self.bias {
            all.push(of("bias", vec![self.out], Kind::Bias));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_follow_stride_padding_dilation_and_groups() {
        let plain = Conv2d { out: 4, kernel: 3, stride: 1, padding: 0, dilation: 1, groups: 1, bias: true };
        let check = |conv: Conv2d, input: [usize; 3], expected: Option<[usize; 3]>| {
            assert_eq!(conv.output(&input.to_vec()).ok(), expected.map(|shape| shape.to_vec()), "{conv:?}");
        };
        check(plain, [2, 7, 9], Some([4, 5, 7]));
        check(Conv2d { stride: 2, padding: 1, ..plain }, [2, 7, 9], Some([4, 4, 5]));
        check(Conv2d { dilation: 3, ..plain }, [2, 7, 9], Some([4, 1, 3]));
        check(Conv2d { dilation: 4, ..plain }, [2, 7, 9], None);
        check(Conv2d { groups: 2, ..plain }, [2, 7, 9], Some([4, 5, 7]));
        check(Conv2d { groups: 2, ..plain }, [3, 7, 9], None);
        assert_eq!(Conv2d { groups: 2, ..plain }.parameters(0, &vec![2, 7, 9])[0].shape, [4, 1, 3, 3]);
    }
}
