//! `max_pool2d`: the largest value of each window, as in `torch.nn.MaxPool2d`; padding never wins.

use super::{Layer, Pool};
use crate::config::Row;

pub(super) const ROW: Row<Layer> = Row {
    name: "max_pool2d",
    help: "largest value of each window; size, stride = size, padding = 0",
    parse: |table| Pool::parse(table).map(Layer::MaxPool2d),
};
