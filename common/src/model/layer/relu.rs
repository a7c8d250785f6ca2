//! `relu`: max(x, 0).

use super::Layer;
use crate::config::Row;

pub(super) const ROW: Row<Layer> = Row { name: "relu", help: "max(x, 0)", parse: |_| Ok(Layer::Relu) };
