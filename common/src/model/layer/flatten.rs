//! `flatten`: all dimensions of an example into one.

use super::Layer;
use crate::config::Row;

pub(super) const ROW: Row<Layer> =
    Row { name: "flatten", help: "all dimensions of an example into one", parse: |_| Ok(Layer::Flatten) };
