//! `avg_pool2d`: the mean of each window, as in `torch.nn.AvgPool2d`; padding counts as zeros.

use super::{Layer, Pool};
use crate::config::Row;

pub(super) const ROW: Row<Layer> = Row {
    name: "avg_pool2d",
    help: "mean of each window, padding counting as zeros; size, stride = size, padding = 0",
    parse: |table| Pool::parse(table).map(Layer::AvgPool2d),
};
