//! The layers' arithmetic: what a layer of [`tributary_common::model::layer`] computes, forward and backward. One file and
//! one row each, in the same order as there.
//!
//! A layer holds no parameters: these stand in one buffer of the network, in the packed order of the model's layout, so
//! that loading a model, stepping an optimiser and taking the difference are each one pass over memory.

mod avg_pool2d;
mod conv2d;
mod dropout;
mod element;
mod embedding;
mod flatten;
#[cfg(feature = "candle")]
mod graph;
mod group_norm;
mod layer_norm;
mod linear;
mod max_pool2d;
mod relu;
mod rms_norm;
mod tensors;

use std::ops::Range;

use tributary_common::model::layer::Pool;
use tributary_common::model::{Layer, Model, Shape};
use tributary_common::rng::Stream;
use tributary_kernels::relu::Activation;
use tributary_kernels::sgd::Step;
use tributary_kernels::window::Window;
use tributary_kernels::workspace::Workspace;

pub(crate) use element::Element;
#[cfg(feature = "candle")]
pub(crate) use graph::{Graph, Learned, Masks, Stacked};

/// One kind of layer.
pub(crate) struct Row {
    /// As typed in `kind = "…"`.
    pub(crate) name: &'static str,
    /// Builds it in single precision; none for another kind of layer.
    single: fn(&Place<'_>) -> Option<Operator<f32>>,
    /// The same in double precision.
    double: fn(&Place<'_>) -> Option<Operator<f64>>,
    /// Its output as a differentiable tensor; without activation, which follows as a layer of its own.
    #[cfg(feature = "candle")]
    graph: fn(&Place<'_>, &candle_core::Tensor, &Graph<'_>) -> candle_core::Result<candle_core::Tensor>,
    /// Makes it ready to run several models at once on a device.
    #[cfg(feature = "candle")]
    stack: fn(&Place<'_>, &candle_core::Device) -> candle_core::Result<Stacked>,
}

/// Every layer, by name.
pub(crate) const ROWS: &[Row] = &[
    avg_pool2d::ROW,
    conv2d::ROW,
    dropout::ROW,
    embedding::ROW,
    flatten::ROW,
    group_norm::ROW,
    layer_norm::ROW,
    linear::ROW,
    max_pool2d::ROW,
    relu::ROW,
    rms_norm::ROW,
];

/// A layer in its model.
pub(crate) struct Place<'a> {
    /// The model.
    pub(crate) model: &'a Model,
    /// Which of its layers.
    pub(crate) index: usize,
    /// What follows and is computed in the same pass.
    pub(crate) activation: Activation,
}

impl Place<'_> {
    pub(crate) fn layer(&self) -> &Layer {
        &self.model.layers[self.index]
    }

    /// The shape that arrives.
    fn input(&self) -> &Shape {
        &self.model.shapes[self.index]
    }

    /// Where the layer's tensor of this name stands in the network's buffer, in values.
    fn tensor(&self, name: &str) -> Option<Range<usize>> {
        let tensor = self.model.layout.find(&format!("{}.{name}", self.index))?;
        let start = tensor.offset / tensor.dtype.size();
        Some(start..start + tensor.count())
    }

    /// Builds the layer.
    pub(crate) fn build<T: Element>(&self) -> Operator<T> {
        T::build(self.row(), self).expect("a row builds the layer of its name")
    }

    fn row(&self) -> &'static Row {
        let name = self.layer().name();
        ROWS.iter().find(|row| row.name == name).expect("a test holds both lists of layers equal")
    }
}

/// A layer that is ready to run.
pub(crate) enum Operator<T> {
    /// Reads one buffer and writes the next.
    Across(Box<dyn Across<T>>),
    /// Changes nothing but how a shape is read.
    Nothing,
    /// Changes a buffer in place.
    Within(Box<dyn Within<T>>),
}

/// A layer between two buffers.
pub(crate) trait Across<T>: Send {
    /// Writes `y`.
    fn forward(&mut self, pass: Forward<'_, T>);

    /// Writes the input's gradient if asked for, then learns; the gradient of `y` may be overwritten.
    fn backward(&mut self, pass: Backward<'_, T>);
}

/// A layer inside one buffer.
pub(crate) trait Within<T>: Send {
    /// Changes the values; in training `dropout` is the stream that masks are drawn from.
    fn forward(&mut self, values: &mut [T], dropout: Option<&mut Stream>);

    /// Changes the gradient of the buffer's values `y`, as they stood after all layers inside it.
    fn backward(&mut self, y: &[T], gradient: &mut [T]);
}

/// What a forward pass sees; slices hold exactly the batch.
pub(crate) struct Forward<'a, T> {
    pub(crate) batch: usize,
    pub(crate) weights: &'a [T],
    pub(crate) x: &'a [T],
    pub(crate) y: &'a mut [T],
    /// Whether a backward pass follows, for which a layer may have to keep something.
    pub(crate) learns: bool,
    pub(crate) workspace: &'a mut Workspace<T>,
}

/// What a backward pass sees.
pub(crate) struct Backward<'a, T> {
    pub(crate) batch: usize,
    pub(crate) learn: Learn<'a, T>,
    pub(crate) x: &'a [T],
    pub(crate) y: &'a [T],
    pub(crate) dy: &'a mut [T],
    pub(crate) dx: Option<&'a mut [T]>,
    pub(crate) workspace: &'a mut Workspace<T>,
}

/// How a layer learns.
pub(crate) struct Learn<'a, T> {
    /// All parameters of the network.
    pub(crate) weights: &'a mut [T],
    /// Their gradients; a layer writes its own.
    pub(crate) gradient: &'a mut [T],
    /// Plain descent is done by the layer itself, which may then never store the gradient.
    pub(crate) step: Option<Step<T>>,
}

/// How the window of a pooling moves, along either axis.
const fn window(pool: &Pool) -> Window {
    Window { kernel: pool.size, stride: pool.stride, padding: pool.padding, dilation: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::model::layer;

    /// A layer that has a shape and no arithmetic would be found out when a client trains.
    #[test]
    fn every_layer_of_a_run_file_has_its_arithmetic() {
        let shapes: Vec<_> = layer::ROWS.iter().map(|row| row.name).collect();
        let arithmetic: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(arithmetic, shapes);
    }
}
