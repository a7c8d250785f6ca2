//! `conv2d`: cross-correlation over height and width.

#[cfg(feature = "candle")]
use candle_core::{Device, Result, Tensor};
use tributary_common::model::{Layer, layer};
use tributary_kernels::conv2d::{self, Gradients};
#[cfg(feature = "candle")]
use tributary_kernels::op::stacked;
use tributary_kernels::relu::Activation;
use tributary_kernels::window::Window;

#[cfg(feature = "candle")]
use super::graph::another;
use super::tensors::Tensors;
use super::{Across, Backward, Element, Forward, Operator, Place, Row};
#[cfg(feature = "candle")]
use super::{Graph, Stacked};

pub(super) const ROW: Row = Row {
    name: "conv2d",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack,
};

struct Conv2d {
    /// For one image.
    shape: conv2d::Conv2d,
    activation: Activation,
    tensors: Tensors,
}

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    let Layer::Conv2d(conv2d) = place.layer() else { return None };
    let &[in_channels, height, width] = place.input().as_slice() else { return None };
    let shape = conv2d::Conv2d {
        batch: 1,
        in_channels,
        out_channels: conv2d.out,
        input: [height, width],
        window: [window(conv2d); 2],
        groups: conv2d.groups,
    };
    let tensors = Tensors::of(place)?;
    Some(Operator::Across(Box::new(Conv2d { shape, activation: place.activation, tensors })))
}

/// How the kernel moves, along either axis.
const fn window(conv2d: &layer::Conv2d) -> Window {
    Window { kernel: conv2d.kernel, stride: conv2d.stride, padding: conv2d.padding, dilation: conv2d.dilation }
}

impl<T: Element> Across<T> for Conv2d {
    fn forward(&mut self, pass: Forward<'_, T>) {
        let (weight, bias) = self.tensors.read(pass.weights);
        let shape = conv2d::Conv2d { batch: pass.batch, ..self.shape };
        conv2d::forward(shape, self.activation, pass.x, weight, bias, pass.y, pass.workspace);
    }

    fn backward(&mut self, pass: Backward<'_, T>) {
        let Backward { batch, learn, x, y, dy, dx, workspace } = pass;
        self.activation.backward(y, dy);
        let shape = conv2d::Conv2d { batch, ..self.shape };
        let (weight, _) = self.tensors.read(learn.weights);
        let (dweight, dbias) = self.tensors.change(learn.gradient);
        let gradients = Gradients { input: dx, weight: Some(dweight), bias: dbias };
        conv2d::backward(shape, x, weight, dy, gradients, workspace);
        self.tensors.step(learn);
    }
}

#[cfg(feature = "candle")]
fn graph(place: &Place<'_>, x: &Tensor, graph: &Graph<'_>) -> Result<Tensor> {
    let Layer::Conv2d(conv2d) = place.layer() else { return another(place) };
    let options = tributary_kernels::op::Conv2dOptions {
        stride: [conv2d.stride; 2],
        padding: [conv2d.padding; 2],
        dilation: [conv2d.dilation; 2],
        groups: conv2d.groups,
        activation: Activation::Identity,
    };
    tributary_kernels::op::composed::conv2d(x, graph.weight(place)?, graph.parameter(place, "bias"), options)
}

/// The columns are the same for every model and every step.
#[cfg(feature = "candle")]
fn stack(place: &Place<'_>, device: &Device) -> Result<Stacked> {
    let (Layer::Conv2d(conv2d), &[_, height, width]) = (place.layer(), place.input().as_slice()) else {
        return another(place);
    };
    let (columns, groups) = (stacked::Columns::new([window(conv2d); 2], [height, width], device)?, conv2d.groups);
    Ok(Box::new(move |place, x, graph| {
        stacked::conv2d(x, graph.weight(place)?, graph.parameter(place, "bias"), &columns, groups)
    }))
}
