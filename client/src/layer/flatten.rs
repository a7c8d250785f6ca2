//! `flatten`: all dimensions of an example into one. In row-major memory there is nothing to do.

#[cfg(feature = "candle")]
use candle_core::{Result, Tensor};
use tributary_common::model::Layer;

#[cfg(feature = "candle")]
use super::Graph;
use super::{Element, Operator, Place, Row};

pub(super) const ROW: Row = Row {
    name: "flatten",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack: super::graph::merged,
};

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    matches!(place.layer(), Layer::Flatten).then_some(Operator::Nothing)
}

#[cfg(feature = "candle")]
fn graph(_: &Place<'_>, x: &Tensor, _: &Graph<'_>) -> Result<Tensor> {
    x.flatten_from(1)
}
