//! Where a layer's weight and bias stand in the network's buffer.

use std::ops::Range;

use tributary_kernels::sgd;

use super::{Element, Learn, Place};

/// Weight and, if the layer has one, bias.
pub(super) struct Tensors {
    weight: Range<usize>,
    bias: Option<Range<usize>>,
}

impl Tensors {
    pub(super) fn of(place: &Place<'_>) -> Option<Self> {
        Some(Self { weight: place.tensor("weight")?, bias: place.tensor("bias") })
    }

    pub(super) fn read<'a, T>(&self, buffer: &'a [T]) -> (&'a [T], Option<&'a [T]>) {
        (&buffer[self.weight.clone()], self.bias.clone().map(|bias| &buffer[bias]))
    }

    pub(super) fn change<'a, T>(&self, buffer: &'a mut [T]) -> (&'a mut [T], Option<&'a mut [T]>) {
        match self.bias.clone() {
            None => (&mut buffer[self.weight.clone()], None),
            Some(bias) => {
                let both = buffer.get_disjoint_mut([self.weight.clone(), bias]);
                let [weight, bias] = both.expect("a layout's tensors lie in its buffer and do not overlap");
                (weight, Some(bias))
            }
        }
    }

    /// Steps along the gradient that the layer has just written, where the layer is to do that itself.
    pub(super) fn step<T: Element>(&self, learn: Learn<'_, T>) {
        let Some(step) = learn.step else { return };
        let (weight, bias) = self.change(learn.weights);
        let (dweight, dbias) = self.read(learn.gradient);
        sgd::update(step, weight, dweight);
        if let (Some(bias), Some(dbias)) = (bias, dbias) {
            sgd::update(step, bias, dbias);
        }
    }
}
