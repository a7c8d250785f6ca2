//! Layers one after the other, over one buffer of values and one of gradients between each two.
//!
//! A step takes the whole batch through layer by layer. A prediction takes it in portions up to the first affine map, so
//! that what lies between convolutions and poolings stays in the cache, and in one piece from there on, because products of
//! matrices gain from every row.

use std::ops::Range;

use tributary_common::model::{Layer, Model};
use tributary_common::rng::Stream;
use tributary_kernels::relu::Activation;
use tributary_kernels::workspace::Workspace;

use crate::layer::{Backward, Element, Forward, Learn, Operator, Place};

/// Bytes between the layers before the first affine map that a portion of a prediction takes: convolutions arrange their
/// weights once a portion, so that a longer one gains more than it loses to the second-level cache.
const PORTION_BYTES: usize = 3 << 20;

/// Bytes of a batch of prediction outside of its portions, and the fewest and most examples: below, large affine maps are
/// bound by memory; above, nothing is gained.
const PREDICTION_BYTES: usize = 16 << 20;
const PREDICTION_BATCH: std::ops::RangeInclusive<usize> = 32..=512;

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
    /// The layers before the first affine map, and the buffer that they leave their result in.
    head: usize,
    joint: usize,
    /// Examples that a prediction takes through these layers at a time.
    portion: usize,
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
            head: usize::MAX,
            joint: 0,
            portion: 1,
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
            if matches!(layer, Layer::Linear(_)) && network.head == usize::MAX {
                (network.head, network.joint) = (network.layers.len(), reads);
            }
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
        if network.head == usize::MAX {
            (network.head, network.joint) = (network.layers.len(), network.buffers.len() - 1);
        }
        network.portion = (PORTION_BYTES / network.inner_bytes().max(1)).max(1);
        network
    }

    /// Bytes that one example takes in a portion of a prediction.
    fn inner_bytes(&self) -> usize {
        let inner = self.buffers.get(1..self.joint).unwrap_or_default();
        inner.iter().fold(0, |all: usize, buffer| all.saturating_add(buffer.size)).saturating_mul(size_of::<T>())
    }

    /// Examples of a batch that is predicted best, and the bytes that it takes.
    pub(super) fn prediction(&self) -> (usize, usize) {
        let outer = self.buffers.iter().enumerate().filter(|(index, _)| !(1..self.joint).contains(index));
        let bytes = outer.fold(0, |all: usize, (_, buffer)| all.saturating_add(buffer.size)) * size_of::<T>();
        let batch = (PREDICTION_BYTES / bytes.max(1)).clamp(*PREDICTION_BATCH.start(), *PREDICTION_BATCH.end());
        let inner = self.portion.min(batch).saturating_mul(self.inner_bytes());
        (batch, batch.saturating_mul(bytes).saturating_add(inner))
    }

    /// Makes room for a batch and returns where its examples go.
    pub(super) fn input(&mut self, batch: usize, rule: Rule) -> &mut [T] {
        self.batch = batch;
        let first = self.layers.get(self.first_learner).map_or(usize::MAX, |layer| layer.reads);
        for (index, buffer) in self.buffers.iter_mut().enumerate() {
            let is_inner = rule == Rule::Predict && (1..self.joint).contains(&index);
            let len = if is_inner { batch.min(self.portion) } else { batch } * buffer.size;
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

    /// From the input to the output; with `dropout` as in training, ready to go backward.
    pub(super) fn forward(&mut self, weights: &[T], dropout: Option<&mut Stream>) {
        let (batch, portion, head) = (self.batch, self.portion, self.head);
        if dropout.is_some() {
            return self.pass(0..self.layers.len(), 0..batch, weights, dropout);
        }
        for start in (0..batch).step_by(portion) {
            self.pass(0..head, start..batch.min(start + portion), weights, None);
        }
        self.pass(head..self.layers.len(), 0..batch, weights, None);
    }

    /// Takes these examples of the batch through these layers. Between the input and the joint only the examples of one
    /// portion are kept.
    fn pass(&mut self, layers: Range<usize>, examples: Range<usize>, weights: &[T], mut dropout: Option<&mut Stream>) {
        let Self { layers: all, buffers, joint, workspace, .. } = self;
        let (batch, learns) = (examples.len(), dropout.is_some());
        let of = |buffer: usize, size: usize| {
            let is_inner = !learns && (1..*joint).contains(&buffer);
            let start = if is_inner { 0 } else { examples.start };
            start * size..(start + batch) * size
        };
        for Placed { operator, reads } in &mut all[layers] {
            match operator {
                Operator::Across(layer) => {
                    let (before, after) = buffers.split_at_mut(*reads + 1);
                    let (x, y) = (&before[*reads], &mut after[0]);
                    let x = &x.values[of(*reads, x.size)];
                    let y = &mut y.values[of(*reads + 1, y.size)];
                    layer.forward(Forward { batch, weights, x, y, learns, workspace });
                }
                Operator::Nothing => {}
                Operator::Within(layer) => {
                    let buffer = &mut buffers[*reads];
                    layer.forward(&mut buffer.values[of(*reads, buffer.size)], dropout.as_deref_mut());
                }
            }
        }
    }

    /// From the gradient of the output back to the first layer that learns.
    pub(super) fn backward(&mut self, learn: Learn<'_, T>) {
        let Self { layers, buffers, first_learner, batch, workspace, .. } = self;
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
