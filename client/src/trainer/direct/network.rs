//! Layers one after the other, over one buffer of values and one of gradients between each two.

use tributary_common::model::{Layer, Model};
use tributary_common::rng::Stream;
use tributary_kernels::relu::Activation;
use tributary_kernels::workspace::Workspace;

use crate::layer::{Backward, Element, Forward, Learn, Operator, Place};

/// What a forward pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Only the output counts.
    Predict,
    /// A backward pass follows.
    Train,
}

/// A layer and the buffer that it reads; it writes the next one, or stays inside.
struct Placed<T> {
    operator: Operator<T>,
    reads: usize,
}

/// Values between two layers.
struct Buffer<T> {
    /// Values of one example.
    size: usize,
    values: Vec<T>,
    /// Empty where no gradient is needed: up to the first layer that learns.
    gradient: Vec<T>,
}

/// A network without its parameters.
pub(super) struct Network<T> {
    layers: Vec<Placed<T>>,
    buffers: Vec<Buffer<T>>,
    /// The first layer with parameters: nothing before it needs a gradient.
    first_learner: usize,
    /// Examples in the buffers now.
    batch: usize,
    workspace: Workspace<T>,
}

impl<T: Element> Network<T> {
    pub(super) fn new(model: &Model) -> Self {
        let buffer = |index: usize| {
            let size = model.shapes[index].iter().product();
            Buffer { size, values: Vec::new(), gradient: Vec::new() }
        };
        let mut network = Self {
            layers: Vec::new(),
            buffers: vec![buffer(0)],
            first_learner: usize::MAX,
            batch: 0,
            workspace: Workspace::new(),
        };
        let mut index = 0;
        while index < model.layers.len() {
            let layer = &model.layers[index];
            let learns = !layer.parameters(index, &model.shapes[index]).is_empty();
            // Layers that learn take a rectifier after them into their own pass over memory.
            let fuses = learns && model.layers.get(index + 1) == Some(&Layer::Relu);
            let activation = if fuses { Activation::Relu } else { Activation::Identity };
            let reads = network.buffers.len() - 1;
            let operator = Place { model, index, activation }.build();
            match operator {
                Operator::Across(_) => network.buffers.push(buffer(index + 1)),
                Operator::Nothing | Operator::Within(_) => {}
            }
            if learns {
                network.first_learner = network.first_learner.min(network.layers.len());
            }
            network.layers.push(Placed { operator, reads });
            index += 1 + usize::from(fuses);
        }
        network
    }

    /// Makes room for a batch and returns where its examples go.
    pub(super) fn input(&mut self, batch: usize, rule: Rule) -> &mut [T] {
        self.batch = batch;
        let first = self.layers.get(self.first_learner).map_or(usize::MAX, |layer| layer.reads);
        for (index, buffer) in self.buffers.iter_mut().enumerate() {
            let len = batch * buffer.size;
            if buffer.values.len() < len {
                buffer.values.resize(len, T::ZERO);
            }
            if rule == Rule::Train && index > first && buffer.gradient.len() < len {
                buffer.gradient.resize(len, T::ZERO);
            }
        }
        let buffer = &mut self.buffers[0];
        &mut buffer.values[..batch * buffer.size]
    }

    /// The output, and for training where the loss writes its gradient.
    pub(super) fn output(&mut self, rule: Rule) -> (&[T], Option<&mut [T]>) {
        let batch = self.batch;
        let buffer = self.buffers.last_mut().expect("there is the input's buffer");
        let len = batch * buffer.size;
        let has_gradient = rule == Rule::Train && buffer.gradient.len() >= len;
        let Buffer { values, gradient, .. } = buffer;
        (&values[..len], has_gradient.then(|| &mut gradient[..len]))
    }

    /// From the input to the output.
    pub(super) fn forward(&mut self, weights: &[T], mut dropout: Option<&mut Stream>) {
        let Self { layers, buffers, batch, workspace, .. } = self;
        let batch = *batch;
        for Placed { operator, reads } in layers {
            match operator {
                Operator::Across(layer) => {
                    let (before, after) = buffers.split_at_mut(*reads + 1);
                    let (x, y) = (&before[*reads], &mut after[0]);
                    let (x, y) = (&x.values[..batch * x.size], &mut y.values[..batch * y.size]);
                    layer.forward(Forward { batch, weights, x, y, workspace });
                }
                Operator::Nothing => {}
                Operator::Within(layer) => {
                    let buffer = &mut buffers[*reads];
                    layer.forward(&mut buffer.values[..batch * buffer.size], dropout.as_deref_mut());
                }
            }
        }
    }

    /// From the gradient of the output back to the first layer that learns.
    pub(super) fn backward(&mut self, learn: Learn<'_, T>) {
        let Self { layers, buffers, first_learner, batch, workspace } = self;
        let batch = *batch;
        for (index, Placed { operator, reads }) in layers.iter_mut().enumerate().skip(*first_learner).rev() {
            match operator {
                Operator::Across(layer) => {
                    let (before, after) = buffers.split_at_mut(*reads + 1);
                    let (from, to) = (&mut before[*reads], &mut after[0]);
                    let (from_len, to_len) = (batch * from.size, batch * to.size);
                    let learn = Learn { weights: learn.weights, gradient: learn.gradient, step: learn.step };
                    layer.backward(Backward {
                        batch,
                        learn,
                        x: &from.values[..from_len],
                        y: &to.values[..to_len],
                        dy: &mut to.gradient[..to_len],
                        dx: (index > *first_learner).then(|| &mut from.gradient[..from_len]),
                        workspace,
                    });
                }
                Operator::Nothing => {}
                Operator::Within(layer) => {
                    let Buffer { size, values, gradient } = &mut buffers[*reads];
                    layer.backward(&values[..batch * *size], &mut gradient[..batch * *size]);
                }
            }
        }
    }
}
