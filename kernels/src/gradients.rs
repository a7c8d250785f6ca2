//! Where the backward pass of a layer with parameters writes.

use std::fmt::Debug;

use crate::real::Real;

/// The gradients of a layer; an absent one is not computed.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// With respect to the input, of its length; the first layer needs none.
    pub input: Option<&'a mut [T]>,
    /// With respect to the weight, of its length; a normalisation calls it scale.
    pub weight: Option<&'a mut [T]>,
    /// With respect to the bias, one value per output, channel or value of a row; a normalisation calls it shift.
    pub bias: Option<&'a mut [T]>,
}

impl<T: Real> Gradients<'_, T> {
    /// Asserts the lengths of a layer whose weight is as long as its bias.
    pub(crate) fn assert_lengths(&self, input: usize, parameters: usize, shape: impl Debug) {
        if let Some(dx) = &self.input {
            assert_eq!(dx.len(), input, "input's gradient of {shape:?}");
        }
        for gradient in [&self.weight, &self.bias].into_iter().flatten() {
            assert_eq!(gradient.len(), parameters, "a parameter's gradient of {shape:?}");
        }
    }

    /// Sets those to zero that are sums over the batch.
    pub(crate) fn clear_parameters(&mut self) {
        for gradient in [&mut self.weight, &mut self.bias].into_iter().flatten() {
            gradient.fill(T::ZERO);
        }
    }
}
