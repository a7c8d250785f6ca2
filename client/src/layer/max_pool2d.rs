//! `max_pool2d`: the largest value of each window.

#[cfg(feature = "candle")]
use candle_core::{Result, Tensor};
use tributary_common::model::Layer;
use tributary_kernels::max_pool2d;

#[cfg(feature = "candle")]
use super::Graph;
#[cfg(feature = "candle")]
use super::graph::another;
use super::{Across, Backward, Element, Forward, Operator, Place, Row, window};

pub(super) const ROW: Row = Row {
    name: "max_pool2d",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack: super::graph::merged,
};

struct MaxPool2d {
    /// For one image.
    shape: max_pool2d::MaxPool2d,
    /// Where each maximum of the last forward pass was.
    indices: Vec<u32>,
}

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    let Layer::MaxPool2d(pool) = place.layer() else { return None };
    let &[planes, height, width] = place.input().as_slice() else { return None };
    let shape = max_pool2d::MaxPool2d { planes, input: [height, width], window: [window(pool); 2] };
    Some(Operator::Across(Box::new(MaxPool2d { shape, indices: Vec::new() })))
}

impl MaxPool2d {
    const fn of(&self, batch: usize) -> max_pool2d::MaxPool2d {
        max_pool2d::MaxPool2d { planes: batch * self.shape.planes, ..self.shape }
    }
}

impl<T: Element> Across<T> for MaxPool2d {
    fn forward(&mut self, pass: Forward<'_, T>) {
        if !pass.learns {
            return max_pool2d::maxima(self.of(pass.batch), pass.x, pass.y);
        }
        if self.indices.len() < pass.y.len() {
            self.indices.resize(pass.y.len(), 0);
        }
        max_pool2d::forward(self.of(pass.batch), pass.x, pass.y, &mut self.indices[..pass.y.len()]);
    }

    fn backward(&mut self, pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        max_pool2d::backward(self.of(pass.batch), pass.dy, &self.indices[..pass.dy.len()], dx);
    }
}

#[cfg(feature = "candle")]
fn graph(place: &Place<'_>, x: &Tensor, _: &Graph<'_>) -> Result<Tensor> {
    let Layer::MaxPool2d(pool) = place.layer() else { return another(place) };
    tributary_kernels::op::composed::max_pool2d(x, [window(pool); 2])
}
