//! Layers as candle tensors: what a graph is built from.

use candle_core::{Result, Tensor, Var};
use tributary_common::rng::Stream;

use super::{Place, ROWS};

/// A parameter of the network.
pub(crate) struct Learned {
    pub(crate) name: String,
    pub(crate) var: Var,
}

/// What layers share in one forward pass.
pub(crate) struct Graph<'a> {
    /// In the packed order of the layout.
    pub(crate) parameters: &'a [Learned],
    /// In training the stream that masks are drawn from.
    pub(crate) dropout: Option<&'a mut Stream>,
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
    pub(crate) fn graph(&self, x: &Tensor, graph: &mut Graph<'_>) -> Result<Tensor> {
        let name = self.layer().name();
        let row = ROWS.iter().find(|row| row.name == name).expect("a test holds both lists of layers equal");
        (row.graph)(self, x, graph)
    }
}

/// A row was asked for a layer of another kind.
pub(super) fn another<T>(place: &Place<'_>) -> Result<T> {
    Err(candle_core::Error::Msg(format!("layer {} is of kind {}", place.index, place.layer().name())))
}
