//! Fully connected layers.

use candle_core::{Result, Tensor};

/// `x · Wᵀ + b` for each model: `x` `[models, batch, inputs]`, the weight `[models, outputs, inputs]`, the bias
/// `[models, outputs]`.
///
/// # Errors
/// If the shapes, types or devices do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = x.matmul(&weight.t()?)?;
    match bias {
        Some(bias) => y.broadcast_add(&bias.unsqueeze(1)?),
        None => Ok(y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::testing::{check_gradients, each, same, tensor};
    use crate::relu::Activation;

    #[test]
    fn each_model_computes_as_if_it_were_alone() {
        let (x, w, b) = (tensor(1, &[3, 4, 5]), tensor(2, &[3, 2, 5]), tensor(3, &[3, 2]));
        let alone = each([&x, &w, &b], |[x, w, b]| crate::op::linear(x, w, Some(b), Activation::Identity));
        same(&linear(&x, &w, Some(&b)).unwrap(), &alone);
        let alone = each([&x, &w], |[x, w]| crate::op::linear(x, w, None, Activation::Identity));
        same(&linear(&x, &w, None).unwrap(), &alone);
    }

    #[test]
    fn gradients_agree_with_differences() {
        let inputs = [tensor(1, &[3, 4, 5]), tensor(2, &[3, 2, 5]), tensor(3, &[3, 2])];
        check_gradients(&inputs, |[x, w, b]| linear(x, w, Some(b)));
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let x = tensor(1, &[3, 4, 5]);
        assert!(linear(&x, &tensor(2, &[3, 2, 6]), None).is_err());
        assert!(linear(&x, &tensor(2, &[2, 2, 5]), None).is_err());
        assert!(linear(&x, &tensor(2, &[3, 2, 5]), Some(&tensor(3, &[3, 4]))).is_err());
    }
}
