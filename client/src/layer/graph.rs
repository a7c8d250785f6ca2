//! Layers as candle tensors: what a graph is built from.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var, WithDType};
use tributary_common::model::{Layer, Model};
use tributary_common::rng::Stream;

use super::{Element, Place, ROWS, dropout};
use crate::device::Device;

/// A parameter of the network.
pub(crate) struct Learned {
    pub(crate) name: String,
    pub(crate) var: Var,
}

/// What layers share in one forward pass.
pub(crate) struct Graph<'a> {
    /// In the packed order of the layout.
    pub(crate) parameters: &'a [Learned],
    /// In training what dropout multiplies with.
    pub(crate) masks: Option<&'a Masks>,
}

/// The factors of a model's dropout layers for the examples of a batch, by the layers' indices.
pub(crate) struct Masks(BTreeMap<usize, Tensor>);

impl Masks {
    /// Draws factors for `count` examples, in the order of the layers, as when the layers draw for themselves.
    pub(crate) fn draw<T: Element + WithDType>(
        model: &Model,
        stream: &mut Stream,
        count: usize,
        device: &Device,
    ) -> Result<Self> {
        let mut masks = BTreeMap::new();
        for (index, layer) in model.layers.iter().enumerate() {
            let Layer::Dropout(layer) = layer else { continue };
            let shape = [&[count], model.shapes[index].as_slice()].concat();
            let factors = dropout::factors::<T>(layer.p, shape.iter().product(), stream);
            masks.insert(index, Tensor::from_vec(factors, shape, device.tensors())?);
        }
        Ok(Self(masks))
    }

    /// Those of some of the examples.
    pub(crate) fn narrow(&self, start: usize, count: usize) -> Result<Self> {
        self.0.iter().map(|(&index, mask)| Ok((index, mask.narrow(0, start, count)?))).collect::<Result<_>>().map(Self)
    }

    /// Those of the layer at `place`.
    pub(super) fn of(&self, place: &Place<'_>) -> Result<&Tensor> {
        let missing = || candle_core::Error::Msg(format!("layer {} has no mask", place.index));
        self.0.get(&place.index).ok_or_else(missing)
    }
}

impl Graph<'_> {
    /// The layer's parameter of this name, if it has one.
    pub(super) fn parameter(&self, place: &Place<'_>, name: &str) -> Option<&Tensor> {
        let name = format!("{}.{name}", place.index);
        self.parameters.iter().find(|learned| learned.name == name).map(|learned| learned.var.as_tensor())
    }

    /// The layer's weight.
    pub(super) fn weight(&self, place: &Place<'_>) -> Result<&Tensor> {
        self.required(place, "weight")
    }

    /// The layer's bias, where there always is one.
    pub(super) fn bias(&self, place: &Place<'_>) -> Result<&Tensor> {
        self.required(place, "bias")
    }

    fn required(&self, place: &Place<'_>, name: &str) -> Result<&Tensor> {
        let missing = || candle_core::Error::Msg(format!("layer {} has no {name}", place.index));
        self.parameter(place, name).ok_or_else(missing)
    }
}

impl Place<'_> {
    /// The layer's output for `x`.
    pub(crate) fn graph(&self, x: &Tensor, graph: &Graph<'_>) -> Result<Tensor> {
        let name = self.layer().name();
        let row = ROWS.iter().find(|row| row.name == name).expect("a test holds both lists of layers equal");
        (row.graph)(self, x, graph)
    }
}

/// A row was asked for a layer of another kind.
pub(super) fn another<T>(place: &Place<'_>) -> Result<T> {
    Err(candle_core::Error::Msg(format!("layer {} is of kind {}", place.index, place.layer().name())))
}
