//! Layers as candle tensors: what a graph is built from.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var, WithDType};
use tributary_common::model::{Layer, Model};
use tributary_common::rng::Stream;

use super::{Element, Place, dropout};
use crate::device::Device;

/// A parameter of the network.
pub(crate) struct Learned {
    pub(crate) name: String,
    pub(crate) var: Var,
}

/// A layer of several models at once: its output for `[models, batch, …]`, given parameters with the models in front.
pub(crate) type Stacked = Box<dyn Fn(&Place<'_>, &Tensor, &Graph<'_>) -> Result<Tensor> + Send>;

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
    /// Draws factors for so many examples of each stream, in the order of the layers, as when the layers draw for themselves.
    /// Each stream gets `rows` rows, at least as many as it has examples; those behind them are its first one's again.
    pub(crate) fn draw<T: Element + WithDType>(
        model: &Model,
        streams: &mut [(&mut Stream, usize)],
        rows: usize,
        device: &Device,
    ) -> Result<Self> {
        let mut drawn = BTreeMap::<usize, Vec<T>>::new();
        for (stream, count) in streams.iter_mut() {
            for (index, layer) in model.layers.iter().enumerate() {
                let Layer::Dropout(layer) = layer else { continue };
                let size = model.shapes[index].iter().product();
                let factors = dropout::factors::<T>(layer.p, *count * size, stream);
                let all = drawn.entry(index).or_default();
                all.extend_from_slice(&factors);
                (*count..rows).for_each(|_| all.extend_from_slice(&factors[..size]));
            }
        }
        let tensor = |(index, factors): (usize, Vec<T>)| {
            let shape = [&[streams.len() * rows], model.shapes[index].as_slice()].concat();
            Ok((index, Tensor::from_vec(factors, shape, device.tensors())?))
        };
        drawn.into_iter().map(tensor).collect::<Result<_>>().map(Self)
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
        (self.row().graph)(self, x, graph)
    }

    /// Makes the layer ready to run several models at once.
    pub(crate) fn stack(&self, device: &Device) -> Result<Stacked> {
        (self.row().stack)(self, device.tensors())
    }
}

/// Without parameters the examples of several models are the examples of one.
pub(super) fn merged(_: &Place<'_>, _: &candle_core::Device) -> Result<Stacked> {
    Ok(Box::new(|place, x, graph| {
        let (models, batch) = (x.dim(0)?, x.dim(1)?);
        let y = place.graph(&x.flatten(0, 1)?, graph)?;
        y.reshape([&[models, batch], &y.dims()[1..]].concat())
    }))
}

/// A row was asked for a layer of another kind.
pub(super) fn another<T>(place: &Place<'_>) -> Result<T> {
    Err(candle_core::Error::Msg(format!("layer {} is of kind {}", place.index, place.layer().name())))
}
