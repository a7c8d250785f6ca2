//! `linear`: y = x Wᵀ + b.

#[cfg(feature = "candle")]
use candle_core::{Device, Result, Tensor};
use tributary_common::model::Layer;
use tributary_kernels::linear::{self, Gradients};
#[cfg(feature = "candle")]
use tributary_kernels::op::stacked;
use tributary_kernels::relu::Activation;

use super::tensors::Tensors;
use super::{Across, Backward, Element, Forward, Operator, Place, Row};
#[cfg(feature = "candle")]
use super::{Graph, Stacked};

pub(super) const ROW: Row = Row {
    name: "linear",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack,
};

struct Linear {
    inputs: usize,
    outputs: usize,
    activation: Activation,
    tensors: Tensors,
}

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    let Layer::Linear(linear) = place.layer() else { return None };
    let (inputs, outputs) = (place.input()[0], linear.out);
    let tensors = Tensors::of(place)?;
    Some(Operator::Across(Box::new(Linear { inputs, outputs, activation: place.activation, tensors })))
}

impl Linear {
    const fn shape(&self, batch: usize) -> linear::Linear {
        linear::Linear { batch, inputs: self.inputs, outputs: self.outputs }
    }
}

impl<T: Element> Across<T> for Linear {
    fn forward(&mut self, pass: Forward<'_, T>) {
        let (weight, bias) = self.tensors.read(pass.weights);
        linear::forward(self.shape(pass.batch), self.activation, pass.x, weight, bias, pass.y);
    }

    fn backward(&mut self, pass: Backward<'_, T>) {
        let Backward { batch, learn, x, y, dy, dx, .. } = pass;
        self.activation.backward(y, dy);
        let shape = self.shape(batch);
        if let Some(step) = learn.step {
            let (weight, bias) = self.tensors.change(learn.weights);
            linear::backward_update(shape, step, x, dy, weight, bias, dx);
        } else {
            let (weight, _) = self.tensors.read(learn.weights);
            let (dweight, dbias) = self.tensors.change(learn.gradient);
            linear::backward(shape, x, weight, dy, Gradients { input: dx, weight: Some(dweight), bias: dbias });
        }
    }
}

#[cfg(feature = "candle")]
fn graph(place: &Place<'_>, x: &Tensor, graph: &Graph<'_>) -> Result<Tensor> {
    tributary_kernels::op::composed::linear(
        x,
        graph.weight(place)?,
        graph.parameter(place, "bias"),
        Activation::Identity,
    )
}

#[cfg(feature = "candle")]
fn stack(_: &Place<'_>, _: &Device) -> Result<Stacked> {
    Ok(Box::new(|place, x, graph| stacked::linear(x, graph.weight(place)?, graph.parameter(place, "bias"))))
}
