//! `embedding`: a row of a table for each whole number of the input.
//!
//! The numbers come as the network's values; [`crate::data::Dataset`] has found all of them to be indices of the table,
//! and the trainer takes no other examples.

#[cfg(feature = "candle")]
use candle_core::{DType, Device, Result, Tensor};
use tributary_common::model::Layer;
use tributary_kernels::embedding;
#[cfg(feature = "candle")]
use tributary_kernels::op::stacked;
use tributary_kernels::relu::Activation;

use super::tensors::Tensors;
use super::{Across, Backward, Element, Forward, Operator, Place, Row};
#[cfg(feature = "candle")]
use super::{Graph, Stacked};

pub(super) const ROW: Row = Row {
    name: "embedding",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack,
};

struct Embedding {
    shape: embedding::Embedding,
    activation: Activation,
    tensors: Tensors,
    /// Those of the last forward pass.
    indices: Vec<u32>,
}

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    let Layer::Embedding(layer) = place.layer() else { return None };
    let shape = embedding::Embedding { count: layer.count, size: layer.out };
    let (activation, tensors) = (place.activation, Tensors::of(place)?);
    Some(Operator::Across(Box::new(Embedding { shape, activation, tensors, indices: Vec::new() })))
}

/// A value of the network that is known to be an index.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below 2^24")]
fn index<T: Element>(value: T) -> u32 {
    value.to_f64() as u32
}

impl<T: Element> Across<T> for Embedding {
    fn forward(&mut self, pass: Forward<'_, T>) {
        self.indices.clear();
        self.indices.extend(pass.x.iter().map(|&value| index(value)));
        let (table, _) = self.tensors.read(pass.weights);
        embedding::forward(self.shape, &self.indices, table, pass.y);
        self.activation.forward(pass.y);
    }

    fn backward(&mut self, pass: Backward<'_, T>) {
        let Backward { learn, y, dy, .. } = pass;
        self.activation.backward(y, dy);
        if let Some(step) = learn.step {
            let (table, _) = self.tensors.change(learn.weights);
            embedding::backward_update(self.shape, step, &self.indices, dy, table);
        } else {
            let (dtable, _) = self.tensors.change(learn.gradient);
            embedding::backward(self.shape, &self.indices, dy, dtable);
        }
    }
}

#[cfg(feature = "candle")]
fn graph(place: &Place<'_>, x: &Tensor, graph: &Graph<'_>) -> Result<Tensor> {
    tributary_kernels::op::composed::embedding(&x.to_dtype(DType::U32)?, graph.weight(place)?)
}

#[cfg(feature = "candle")]
fn stack(_: &Place<'_>, _: &Device) -> Result<Stacked> {
    Ok(Box::new(|place, x, graph| stacked::embedding(&x.to_dtype(DType::U32)?, graph.weight(place)?)))
}
