//! `relu`: max(x, 0). After a convolution or an affine map it is computed in their pass instead.

#[cfg(feature = "candle")]
use candle_core::{Result, Tensor};
use tributary_common::model::Layer;
use tributary_common::rng::Stream;
use tributary_kernels::relu;

#[cfg(feature = "candle")]
use super::Graph;
use super::{Element, Operator, Place, Row, Within};

pub(super) const ROW: Row = Row {
    name: "relu",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack: super::graph::merged,
};

struct Relu;

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    matches!(place.layer(), Layer::Relu).then(|| Operator::Within(Box::new(Relu) as Box<dyn Within<T>>))
}

impl<T: Element> Within<T> for Relu {
    fn forward(&mut self, values: &mut [T], _: Option<&mut Stream>) {
        relu::forward(values);
    }

    /// Layers inside one buffer after this one may have scaled `y` by positive numbers or set it to zero together with
    /// its gradient; both leave the result as it is.
    fn backward(&mut self, y: &[T], gradient: &mut [T]) {
        relu::backward(y, gradient);
    }
}

#[cfg(feature = "candle")]
fn graph(_: &Place<'_>, x: &Tensor, _: &Graph<'_>) -> Result<Tensor> {
    tributary_kernels::op::relu(x)
}
