//! Softmax and cross-entropy as one function, with its gradient in the same pass.
//!
//! Row by row, `log Σ exp(z)` is computed as `m + log Σ exp(z − m)` with m the row's largest logit, so that no
//! exponential overflows; the gradient is (softmax(z) − onehot) / B.

use crate::real::Real;

/// The sum over the batch, in nats, of the losses of logits `[B, classes]` against `labels`. With `gradient`, also writes
/// the gradient of the *mean* loss with respect to the logits.
///
/// # Panics
/// If the lengths differ from the shape or a label is not below `classes`.
#[must_use]
pub fn loss<T: Real>(classes: usize, logits: &[T], labels: &[u32], gradient: Option<&mut [T]>) -> f64 {
    assert_eq!(logits.len(), labels.len() * classes, "one row of {classes} logits per label");
    let mut loss = 0.0;
    let rows = labels.iter().zip(logits.chunks_exact(classes.max(1)));
    match gradient {
        None => {
            for (&label, row) in rows {
                let largest = largest(row);
                let sum: f64 = row.iter().map(|&z| (z - largest).exp().to_f64()).sum();
                loss += sum.ln() + (largest - row[label as usize]).to_f64();
            }
        }
        Some(gradient) => {
            assert_eq!(gradient.len(), logits.len(), "one gradient per logit");
            let scale = 1.0 / labels.len() as f64;
            for ((&label, row), g) in rows.zip(gradient.chunks_exact_mut(classes.max(1))) {
                let largest = largest(row);
                let mut sum = 0.0;
                for (g, &z) in g.iter_mut().zip(row) {
                    *g = (z - largest).exp();
                    sum += g.to_f64();
                }
                let factor = T::from_f64(scale / sum);
                g.iter_mut().for_each(|g| *g *= factor);
                g[label as usize] -= T::from_f64(scale);
                loss += sum.ln() + (largest - row[label as usize]).to_f64();
            }
        }
    }
    loss
}

/// The row's largest logit. A NaN never wins, but makes the sum and so the loss a NaN.
fn largest<T: Real>(row: &[T]) -> T {
    row.iter().fold(row[0], |best, &z| if z > best { z } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, gradient, values};

    #[test]
    fn uniform_logits_cost_the_logarithm_of_the_classes() {
        assert_close(&[loss(4, &[0.5_f32; 8], &[0, 3], None)], &[2.0 * 4_f64.ln()], 1e-12);
    }

    #[test]
    fn huge_logits_neither_overflow_nor_vanish() {
        let mut g = [0.0; 2];
        assert_close(&[loss(2, &[1e4, -1e4], &[1], Some(&mut g))], &[2e4], 1e-12);
        assert_close(&g, &[1.0, -1.0], 1e-12);
    }

    #[test]
    fn gradient_agrees_with_differences_and_the_loss_does_not_depend_on_it() {
        let (classes, labels) = (5, [0, 4, 2]);
        let z = values(3, 15);
        let mut g = vec![0.0; 15];
        let with = loss(classes, &z, &labels, Some(&mut g));
        assert_close(&[with], &[loss(classes, &z, &labels, None)], 1e-15);
        assert_close(&g, &gradient(&z, |z| loss(classes, z, &labels, None) / 3.0), 1e-8);
    }

    #[test]
    fn not_a_number_reaches_the_loss() {
        assert!(loss(3, &[0.0, f64::NAN, 1.0], &[2], None).is_nan());
        assert!(loss(3, &[f64::NAN, 0.0, 1.0], &[2], None).is_nan());
    }

    #[test]
    fn empty_batch_loses_nothing() {
        assert_close(&[loss::<f32>(3, &[], &[], Some(&mut []))], &[0.0], 0.0);
    }
}
