//! `avg_pool2d`: the mean of each window.

#[cfg(feature = "candle")]
use candle_core::{Result, Tensor};
use tributary_common::model::Layer;
use tributary_kernels::avg_pool2d;

#[cfg(feature = "candle")]
use super::Graph;
#[cfg(feature = "candle")]
use super::graph::another;
use super::{Across, Backward, Element, Forward, Operator, Place, Row, window};

pub(super) const ROW: Row = Row {
    name: "avg_pool2d",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack: super::graph::merged,
};

/// For one image.
struct AvgPool2d(avg_pool2d::AvgPool2d);

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    let Layer::AvgPool2d(pool) = place.layer() else { return None };
    let &[planes, height, width] = place.input().as_slice() else { return None };
    let shape = avg_pool2d::AvgPool2d { planes, input: [height, width], window: [window(pool); 2] };
    Some(Operator::Across(Box::new(AvgPool2d(shape))))
}

impl AvgPool2d {
    const fn of(&self, batch: usize) -> avg_pool2d::AvgPool2d {
        avg_pool2d::AvgPool2d { planes: batch * self.0.planes, ..self.0 }
    }
}

impl<T: Element> Across<T> for AvgPool2d {
    fn forward(&mut self, pass: Forward<'_, T>) {
        avg_pool2d::forward(self.of(pass.batch), pass.x, pass.y);
    }

    fn backward(&mut self, pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        avg_pool2d::backward(self.of(pass.batch), pass.dy, dx);
    }
}

#[cfg(feature = "candle")]
fn graph(place: &Place<'_>, x: &Tensor, _: &Graph<'_>) -> Result<Tensor> {
    let Layer::AvgPool2d(pool) = place.layer() else { return another(place) };
    tributary_kernels::op::composed::avg_pool2d(x, [window(pool); 2])
}
