//! Rectified linear unit. Layers with a fused one call the same two functions.

use crate::real::Real;

/// What a layer applies to its output before anyone sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(0, y)`.
    Relu,
}

impl Activation {
    /// Applies itself to `y`.
    pub fn forward<T: Real>(self, y: &mut [T]) {
        match self {
            Self::Identity => {}
            Self::Relu => forward(y),
        }
    }

    /// Turns the gradient of its output `y` into that of its input.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn backward<T: Real>(self, y: &[T], gradient: &mut [T]) {
        match self {
            Self::Identity => {}
            Self::Relu => backward(y, gradient),
        }
    }
}

/// `y ← max(0, y)`; a NaN stays one, so that it is noticed at the loss.
pub fn forward<T: Real>(y: &mut [T]) {
    for v in y {
        *v = rectified(*v);
    }
}

/// `gradient ← gradient where y > 0, else 0`, where `y` is the forward's output.
///
/// # Panics
/// If the lengths differ.
pub fn backward<T: Real>(y: &[T], gradient: &mut [T]) {
    assert_eq!(y.len(), gradient.len(), "an output and its gradient have the same length");
    for (g, &v) in gradient.iter_mut().zip(y) {
        *g = if v > T::ZERO { *g } else { T::ZERO };
    }
}

#[inline]
pub(crate) fn rectified<T: Real>(v: T) -> T {
    if v < T::ZERO { T::ZERO } else { v }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;

    #[test]
    fn passes_the_positive_side_only() {
        let mut y = [-1.0_f32, 0.0, 2.0];
        forward(&mut y);
        assert_eq!(y, [0.0, 0.0, 2.0]);
        let mut gradient = [5.0_f32, 6.0, 7.0];
        backward(&y, &mut gradient);
        assert_eq!(gradient, [0.0, 0.0, 7.0]);
    }

    #[test]
    fn not_a_number_is_not_swallowed() {
        let mut y = [f64::NAN];
        forward(&mut y);
        assert!(y[0].is_nan());
    }
}
