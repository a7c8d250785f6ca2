//! `layer_norm`: the last dimensions to mean 0 and variance 1.

#[cfg(feature = "candle")]
use candle_core::{Device, Result, Tensor};
use tributary_common::model::Layer;
use tributary_kernels::layer_norm::{self, Gradients};
#[cfg(feature = "candle")]
use tributary_kernels::op::{Norm, composed, stacked};
use tributary_kernels::relu::Activation;

#[cfg(feature = "candle")]
use super::graph::another;
use super::tensors::Tensors;
use super::{Across, Backward, Element, Forward, Operator, Place, Row};
#[cfg(feature = "candle")]
use super::{Graph, Stacked};

pub(super) const ROW: Row = Row {
    name: "layer_norm",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack,
};

struct LayerNorm {
    /// For one example.
    shape: layer_norm::LayerNorm,
    activation: Activation,
    tensors: Tensors,
}

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    let Layer::LayerNorm(norm) = place.layer() else { return None };
    let (leading, last) = place.input().split_at_checked(place.input().len().checked_sub(norm.dims)?)?;
    let (rows, size, epsilon) = (leading.iter().product(), last.iter().product(), norm.eps);
    let shape = layer_norm::LayerNorm { rows, size, epsilon };
    let (activation, tensors) = (place.activation, Tensors::of(place)?);
    Some(Operator::Across(Box::new(LayerNorm { shape, activation, tensors })))
}

impl LayerNorm {
    const fn of(&self, batch: usize) -> layer_norm::LayerNorm {
        layer_norm::LayerNorm { rows: batch * self.shape.rows, ..self.shape }
    }
}

impl<T: Element> Across<T> for LayerNorm {
    fn forward(&mut self, pass: Forward<'_, T>) {
        let (weight, bias) = self.tensors.read(pass.weights);
        layer_norm::forward(self.of(pass.batch), self.activation, pass.x, weight, bias.unwrap_or_default(), pass.y);
    }

    fn backward(&mut self, pass: Backward<'_, T>) {
        let Backward { batch, learn, x, y, dy, dx, .. } = pass;
        self.activation.backward(y, dy);
        let (weight, _) = self.tensors.read(learn.weights);
        let (dweight, dbias) = self.tensors.change(learn.gradient);
        let gradients = Gradients { input: dx, weight: Some(dweight), bias: dbias };
        layer_norm::backward(self.of(batch), x, weight, dy, gradients);
        self.tensors.step(learn);
    }
}

#[cfg(feature = "candle")]
fn graph(place: &Place<'_>, x: &Tensor, graph: &Graph<'_>) -> Result<Tensor> {
    let Layer::LayerNorm(norm) = place.layer() else { return another(place) };
    composed::norm(Norm::Layer { epsilon: norm.eps }, x, graph.weight(place)?, Some(graph.bias(place)?))
}

#[cfg(feature = "candle")]
fn stack(place: &Place<'_>, _: &Device) -> Result<Stacked> {
    let Layer::LayerNorm(norm) = place.layer() else { return another(place) };
    let norm = Norm::Layer { epsilon: norm.eps };
    Ok(Box::new(move |place, x, graph| stacked::norm(norm, x, graph.weight(place)?, Some(graph.bias(place)?))))
}
