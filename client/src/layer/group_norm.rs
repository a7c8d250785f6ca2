//! `group_norm`: the channels in groups, each group to mean 0 and variance 1.

#[cfg(feature = "candle")]
use candle_core::{Device, Result, Tensor};
use tributary_common::model::Layer;
use tributary_kernels::group_norm::{self, Gradients};
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
    name: "group_norm",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack,
};

struct GroupNorm {
    /// For one example.
    shape: group_norm::GroupNorm,
    activation: Activation,
    tensors: Tensors,
}

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    let Layer::GroupNorm(norm) = place.layer() else { return None };
    let (&channels, places) = place.input().split_first()?;
    let (positions, epsilon) = (places.iter().product(), norm.eps);
    let shape = group_norm::GroupNorm { batch: 1, channels, groups: norm.groups, positions, epsilon };
    let (activation, tensors) = (place.activation, Tensors::of(place)?);
    Some(Operator::Across(Box::new(GroupNorm { shape, activation, tensors })))
}

impl<T: Element> Across<T> for GroupNorm {
    fn forward(&mut self, pass: Forward<'_, T>) {
        let (weight, bias) = self.tensors.read(pass.weights);
        let shape = group_norm::GroupNorm { batch: pass.batch, ..self.shape };
        group_norm::forward(shape, self.activation, pass.x, weight, bias.unwrap_or_default(), pass.y);
    }

    fn backward(&mut self, pass: Backward<'_, T>) {
        let Backward { batch, learn, x, y, dy, dx, .. } = pass;
        self.activation.backward(y, dy);
        let (weight, _) = self.tensors.read(learn.weights);
        let (dweight, dbias) = self.tensors.change(learn.gradient);
        let shape = group_norm::GroupNorm { batch, ..self.shape };
        group_norm::backward(shape, x, weight, dy, Gradients { input: dx, weight: Some(dweight), bias: dbias });
        self.tensors.step(learn);
    }
}

#[cfg(feature = "candle")]
fn graph(place: &Place<'_>, x: &Tensor, graph: &Graph<'_>) -> Result<Tensor> {
    let Layer::GroupNorm(norm) = place.layer() else { return another(place) };
    let norm = Norm::Group { groups: norm.groups, epsilon: norm.eps };
    composed::norm(norm, x, graph.weight(place)?, Some(graph.bias(place)?))
}

#[cfg(feature = "candle")]
fn stack(place: &Place<'_>, _: &Device) -> Result<Stacked> {
    let Layer::GroupNorm(norm) = place.layer() else { return another(place) };
    let norm = Norm::Group { groups: norm.groups, epsilon: norm.eps };
    Ok(Box::new(move |place, x, graph| stacked::norm(norm, x, graph.weight(place)?, Some(graph.bias(place)?))))
}
