//! Mean squared error, with its gradient in the same pass.

use crate::real::Real;

/// Sums, over the batch, each example's mean of squared differences over its `outputs`, so that dividing by the
/// batch gives the usual mean. With `gradient`, also writes that mean's gradient with respect to the prediction.
///
/// # Panics
/// If the lengths differ or are no multiple of `outputs`.
#[must_use]
pub fn loss<T: Real>(outputs: usize, prediction: &[T], target: &[T], gradient: Option<&mut [T]>) -> f64 {
    assert_eq!(prediction.len(), target.len(), "one target per prediction");
    if prediction.is_empty() {
        return 0.0;
    }
    assert!(prediction.len().is_multiple_of(outputs), "predictions come in rows of {outputs}");
    if let Some(gradient) = gradient {
        assert_eq!(prediction.len(), gradient.len(), "one gradient per prediction");
        let scale = T::from_f64(2.0 / prediction.len() as f64);
        for ((g, &p), &t) in gradient.iter_mut().zip(prediction).zip(target) {
            *g = scale * (p - t);
        }
    }
    let squares: f64 = prediction.iter().zip(target).map(|(&p, &t)| (p - t).to_f64().powi(2)).sum();
    squares / outputs as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, gradient, values};

    #[test]
    fn two_examples_by_hand() {
        let mut g = [0.0; 4];
        // Example 0: (1 + 4) / 2, example 1: (0 + 9) / 2.
        let sum = loss(2, &[1.0, 2.0, 3.0, 4.0], &[0.0, 0.0, 3.0, 1.0], Some(&mut g));
        assert_close(&[sum], &[7.0], 1e-15);
        assert_close(&g, &[0.5, 1.0, 0.0, 1.5], 1e-15);
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (p, t) = (values(1, 15), values(2, 15));
        let mut g = vec![0.0; 15];
        let _ = loss(3, &p, &t, Some(&mut g));
        assert_close(&g, &gradient(&p, |p| loss(3, p, &t, None) / 5.0), 1e-8);
    }

    #[test]
    fn empty_batch_has_no_loss() {
        assert_close(&[loss::<f64>(3, &[], &[], Some(&mut []))], &[0.0], 0.0);
    }
}
