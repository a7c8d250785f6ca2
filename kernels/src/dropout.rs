//! Dropout by a mask that the caller's random stream decides. Without it, as in evaluation, there is nothing to do.

use crate::real::Real;

/// Turns one uniform number in [0, 1) per element into the factor 0 (with probability `rate`) or `1 / (1 − rate)`,
/// which keeps the expected output. A rate of 1 drops everything.
///
/// # Panics
/// If the lengths differ.
pub fn mask<T: Real>(uniform: &[f32], rate: f32, mask: &mut [T]) {
    assert_eq!(uniform.len(), mask.len(), "one uniform number per element");
    let kept = if rate < 1.0 { T::from_f64(1.0 / (1.0 - f64::from(rate))) } else { T::ZERO };
    for (m, &u) in mask.iter_mut().zip(uniform) {
        *m = if u < rate { T::ZERO } else { kept };
    }
}

/// `x ← x · mask`. The forward applies it to the activations, the backward to their gradient.
///
/// # Panics
/// If the lengths differ.
pub fn apply<T: Real>(mask: &[T], x: &mut [T]) {
    assert_eq!(x.len(), mask.len(), "one factor per element");
    for (v, &m) in x.iter_mut().zip(mask) {
        *v *= m;
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, dot, gradient, values};

    #[test]
    fn drops_below_the_rate_and_scales_the_rest() {
        let mut factors = [0.0_f64; 4];
        mask(&[0.0, 0.74, 0.75, 0.99], 0.75, &mut factors);
        assert_eq!(factors, [0.0, 0.0, 4.0, 4.0]);
        let mut x = [1.0, 1.0, 2.0, -3.0];
        apply(&factors, &mut x);
        assert_eq!(x, [0.0, 0.0, 8.0, -12.0]);
    }

    /// Backward is forward with the same mask.
    #[test]
    fn gradient_agrees_with_differences() {
        let uniform: Vec<f32> = values(1, 20).into_iter().map(|value| value.abs() as f32).collect();
        let (x, c, mut factors) = (values(2, 20), values(3, 20), vec![0.0; 20]);
        mask(&uniform, 0.4, &mut factors);
        let run = |x: &[f64]| {
            let mut y = x.to_vec();
            apply(&factors, &mut y);
            y
        };
        assert_close(&run(&c), &gradient(&x, |x| dot(&run(x), &c)), 1e-8);
    }

    #[test]
    fn rates_at_the_ends_keep_or_drop_everything() {
        let mut factors = [7.0_f32; 2];
        mask(&[0.0, 0.5], 0.0, &mut factors);
        assert_eq!(factors, [1.0, 1.0]);
        mask(&[0.0, 0.999], 1.0, &mut factors);
        assert_eq!(factors, [0.0, 0.0]);
    }
}
