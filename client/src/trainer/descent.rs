//! Gradient descent over tensors: what one step does to parameters wherever they live.

use candle_core::{Result, Tensor};

use super::Error;
use crate::layer::Learned;
use crate::optimizer::Sgd;

/// The state of the optimiser.
pub(super) struct Descent {
    sgd: Sgd,
    /// One for each parameter, or none before the first step with momentum.
    velocity: Vec<Tensor>,
}

impl Descent {
    pub(super) const fn new(sgd: Sgd) -> Self {
        Self { sgd, velocity: Vec::new() }
    }

    /// Begins anew.
    pub(super) fn begin(&mut self) {
        self.velocity.clear();
    }

    /// One step along `gradients`, one for each parameter, with `PyTorch`'s meaning of the constants.
    pub(super) fn step(&mut self, parameters: &[Learned], gradients: &[Tensor]) -> Result<()> {
        let is_first = self.velocity.is_empty();
        for (index, (learned, gradient)) in parameters.iter().zip(gradients).enumerate() {
            let w = learned.var.as_tensor();
            let d = match self.sgd.weight_decay {
                decay if decay > 0.0 => (gradient + w.affine(decay, 0.0)?)?,
                _ => gradient.clone(),
            };
            let direction = if self.sgd.momentum > 0.0 {
                let v = if is_first { d.clone() } else { (self.velocity[index].affine(self.sgd.momentum, 0.0)? + &d)? };
                if is_first {
                    self.velocity.push(v.detach());
                } else {
                    self.velocity[index] = v.detach();
                }
                if self.sgd.nesterov { (d + v.affine(self.sgd.momentum, 0.0)?)? } else { v }
            } else {
                d
            };
            learned.var.set(&(w - direction.affine(self.sgd.lr, 0.0)?)?.detach())?;
        }
        Ok(())
    }

    /// Goes on with the first `models` of a stack.
    pub(super) fn narrow(&mut self, models: usize) -> Result<()> {
        for velocity in &mut self.velocity {
            *velocity = velocity.narrow(0, 0, models)?;
        }
        Ok(())
    }
}

/// Every parameter's gradient; some operators of the library silently drop one.
pub(super) fn complete(
    parameters: &[Learned],
    gradients: Vec<Option<Tensor>>,
) -> std::result::Result<Vec<Tensor>, Error> {
    let missing = |learned: &Learned| Error::NoGradient { tensor: learned.name.clone() };
    let pairs = parameters.iter().zip(gradients);
    pairs.map(|(learned, gradient)| gradient.ok_or_else(|| missing(learned))).collect()
}
