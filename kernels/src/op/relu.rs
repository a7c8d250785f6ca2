//! The rectified linear unit.

use candle_core::{Result, Tensor};

/// `max(0, x)`; a NaN stays one. At 0 the gradient is 0, as in PyTorch and in the kernels; that of candle's own operator is 1
/// there, which lets a network of zero weights drift.
///
/// # Errors
/// If the type has no order.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    let zeros = x.zeros_like()?;
    x.le(&zeros)?.where_cond(&zeros, x)
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::op::testing::{check_gradients, list, on_cpu, same, tensor, tensor_of};

    #[test]
    fn equals_candles_forward_and_agrees_with_differences() {
        let x = tensor(1, &[4, 5]);
        same(&relu(&x).unwrap(), &on_cpu(&x).relu().unwrap());
        check_gradients(&[x], |[x]| relu(x));
    }

    /// Where a device's gradient at 0 differs, so does what a network learns that begins with zeros.
    #[test]
    fn at_zero_the_gradient_is_zero_and_a_nan_stays() {
        let x = Var::from_tensor(&tensor_of(&[-1.0, 0.0, 2.0, f64::NAN], &[4])).unwrap();
        let y = relu(x.as_tensor()).unwrap();
        assert!(list(&y)[3].is_nan());
        let gradients = y.narrow(0, 0, 3).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(list(gradients.get(x.as_tensor()).unwrap()), [0.0, 0.0, 1.0, 0.0]);
    }
}
