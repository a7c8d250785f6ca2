//! Stochastic gradient descent in place, with PyTorch's meaning of momentum, weight decay and Nesterov.

use crate::real::Real;

/// One step's constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<T> {
    /// What the direction is multiplied by.
    pub learning_rate: T,
    /// L2 penalty: `weight_decay · w` is added to the gradient.
    pub weight_decay: T,
}

/// How a velocity is kept and used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum<T> {
    /// How much of the old velocity stays.
    pub factor: T,
    /// Look ahead: step along `d + factor · v` in place of `v`.
    pub nesterov: bool,
}

/// `w ← w − lr · (g + wd · w)`.
///
/// # Panics
/// If the lengths differ.
pub fn update<T: Real>(step: Step<T>, weights: &mut [T], gradient: &[T]) {
    assert_eq!(weights.len(), gradient.len(), "weights and gradient have the same length");
    for (w, &g) in weights.iter_mut().zip(gradient) {
        *w -= step.learning_rate * (g + step.weight_decay * *w);
    }
}

/// `w ← w − lr · wd · w`: the part of [`update`] that needs no gradient.
pub fn decay<T: Real>(step: Step<T>, weights: &mut [T]) {
    let keep = T::ONE - step.learning_rate * step.weight_decay;
    for w in weights {
        *w *= keep;
    }
}

/// `d = g + wd · w; v ← factor · v + d; w ← w − lr · v`, or with Nesterov `w ← w − lr · (d + factor · v)`.
/// The velocity starts at zero, which makes the first step equal PyTorch's.
///
/// # Panics
/// If the lengths differ.
pub fn update_with_momentum<T: Real>(
    step: Step<T>,
    momentum: Momentum<T>,
    weights: &mut [T],
    gradient: &[T],
    velocity: &mut [T],
) {
    assert_eq!(weights.len(), gradient.len(), "weights and gradient have the same length");
    assert_eq!(weights.len(), velocity.len(), "weights and velocity have the same length");
    // The look-ahead as a factor keeps the loop free of branches: d + factor · v, or 0 · d + 1 · v.
    let (now, ahead) = if momentum.nesterov { (T::ONE, momentum.factor) } else { (T::ZERO, T::ONE) };
    for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(velocity) {
        let d = g + step.weight_decay * *w;
        *v = momentum.factor * *v + d;
        *w -= step.learning_rate * (now * d + ahead * *v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::assert_close;

    const STEP: Step<f64> = Step { learning_rate: 0.1, weight_decay: 0.5 };

    #[test]
    fn plain_step_by_hand() {
        let mut w = [2.0, -1.0];
        update(STEP, &mut w, &[1.0, 3.0]);
        assert_close(&w, &[2.0 - 0.1 * 2.0, -1.0 - 0.1 * 2.5], 1e-15);
    }

    #[test]
    fn two_steps_with_momentum_by_hand() {
        let step = Step { learning_rate: 0.1, weight_decay: 0.0 };
        let mut w = [1.0];
        let mut v = [0.0];
        let momentum = Momentum { factor: 0.9, nesterov: false };
        update_with_momentum(step, momentum, &mut w, &[1.0], &mut v);
        assert_close(&w, &[0.9], 1e-15);
        update_with_momentum(step, momentum, &mut w, &[2.0], &mut v);
        // v = 0.9 · 1 + 2 = 2.9
        assert_close(&v, &[2.9], 1e-15);
        assert_close(&w, &[0.9 - 0.29], 1e-15);
    }

    #[test]
    fn nesterov_steps_along_the_velocity_to_come() {
        let mut w = [1.0];
        let mut v = [1.0];
        update_with_momentum(STEP, Momentum { factor: 0.9, nesterov: true }, &mut w, &[1.0], &mut v);
        // d = 1 + 0.5 = 1.5, v = 0.9 + 1.5 = 2.4, direction 1.5 + 0.9 · 2.4 = 3.66
        assert_close(&v, &[2.4], 1e-15);
        assert_close(&w, &[1.0 - 0.366], 1e-15);
    }
}
