//! `rms_norm`: the last dimensions divided by their root mean square.

#[cfg(feature = "candle")]
use candle_core::{Device, Result, Tensor};
use tributary_common::model::Layer;
#[cfg(feature = "candle")]
use tributary_kernels::op::{Norm, composed, stacked};
use tributary_kernels::relu::Activation;
use tributary_kernels::rms_norm::{self, Gradients};

#[cfg(feature = "candle")]
use super::graph::another;
use super::tensors::Tensors;
use super::{Across, Backward, Element, Forward, Operator, Place, Row};
#[cfg(feature = "candle")]
use super::{Graph, Stacked};

pub(super) const ROW: Row = Row {
    name: "rms_norm",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack,
};

struct RmsNorm {
    /// For one example.
    shape: rms_norm::RmsNorm,
    activation: Activation,
    tensors: Tensors,
}

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    let Layer::RmsNorm(norm) = place.layer() else { return None };
    let (leading, last) = place.input().split_at_checked(place.input().len().checked_sub(norm.dims)?)?;
    let (rows, size, epsilon) = (leading.iter().product(), last.iter().product(), norm.eps_in(place.model.dtype));
    let shape = rms_norm::RmsNorm { rows, size, epsilon };
    let (activation, tensors) = (place.activation, Tensors::of(place)?);
    Some(Operator::Across(Box::new(RmsNorm { shape, activation, tensors })))
}

impl RmsNorm {
    const fn of(&self, batch: usize) -> rms_norm::RmsNorm {
        rms_norm::RmsNorm { rows: batch * self.shape.rows, ..self.shape }
    }
}

impl<T: Element> Across<T> for RmsNorm {
    fn forward(&mut self, pass: Forward<'_, T>) {
        let (weight, _) = self.tensors.read(pass.weights);
        rms_norm::forward(self.of(pass.batch), self.activation, pass.x, weight, pass.y);
    }

    fn backward(&mut self, pass: Backward<'_, T>) {
        let Backward { batch, learn, x, y, dy, dx, .. } = pass;
        self.activation.backward(y, dy);
        let (weight, _) = self.tensors.read(learn.weights);
        let (dweight, _) = self.tensors.change(learn.gradient);
        let gradients = Gradients { input: dx, weight: Some(dweight), bias: None };
        rms_norm::backward(self.of(batch), x, weight, dy, gradients);
        self.tensors.step(learn);
    }
}

#[cfg(feature = "candle")]
fn graph(place: &Place<'_>, x: &Tensor, graph: &Graph<'_>) -> Result<Tensor> {
    let Layer::RmsNorm(norm) = place.layer() else { return another(place) };
    composed::norm(Norm::Rms { epsilon: norm.eps_in(place.model.dtype) }, x, graph.weight(place)?, None)
}

#[cfg(feature = "candle")]
fn stack(place: &Place<'_>, _: &Device) -> Result<Stacked> {
    let Layer::RmsNorm(norm) = place.layer() else { return another(place) };
    let norm = Norm::Rms { epsilon: norm.eps_in(place.model.dtype) };
    Ok(Box::new(move |place, x, graph| stacked::norm(norm, x, graph.weight(place)?, None)))
}
