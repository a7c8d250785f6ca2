//! `sgd`: v ← βv + Δ; w ← w + ηv, with Nesterov w ← w + η(Δ + βv) for the new v. Without momentum and with η = 1 this is
//! federated averaging; with momentum it is FedAvgM (Hsu et al. 2019).

use tributary_common::config::Row;

use super::Rule;

/// The largest momentum: above it a step is remembered for ten thousand rounds.
const MOMENTUM_MAX: f64 = 0.9999;

pub(super) const ROW: Row<Rule> = Row {
    name: "sgd",
    help: "gradient descent; lr = 1.0, momentum = 0.0, nesterov = false",
    parse: |table| {
        let lr = table.optional("lr").map_or(Ok(1.0), |item| item.number_in(f64::MIN_POSITIVE..=1e6))?;
        let momentum = table.optional("momentum").map_or(Ok(0.0), |item| item.number_in(0.0..=MOMENTUM_MAX))?;
        let nesterov = match table.optional("nesterov") {
            Some(item) if item.flag()? && momentum <= 0.0 => {
                return Err(item.fail("`nesterov` needs a `momentum` above 0"));
            }
            Some(item) => item.flag()?,
            None => false,
        };
        Ok(Rule::Sgd(Sgd { lr, momentum, nesterov }))
    },
};

/// Gradient descent on the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate η, positive.
    pub lr: f64,
    /// The momentum β, from 0 to below 1.
    pub momentum: f64,
    /// Whether the step looks ahead.
    pub nesterov: bool,
}

impl Sgd {
    /// Federated averaging.
    pub const AVERAGING: Self = Self { lr: 1.0, momentum: 0.0, nesterov: false };

    pub(super) const fn has_velocity(self) -> bool {
        self.momentum > 0.0
    }

    /// One step over a block; `velocity` is empty where there is no momentum.
    pub(super) fn step(self, weights: &mut [f64], combined: &[f64], velocity: &mut [f64]) {
        if velocity.is_empty() {
            for (weight, delta) in weights.iter_mut().zip(combined) {
                *weight += self.lr * delta;
            }
            return;
        }
        for ((weight, delta), v) in weights.iter_mut().zip(combined).zip(velocity) {
            *v = self.momentum * *v + delta;
            let step = if self.nesterov { delta + self.momentum * *v } else { *v };
            *weight += self.lr * step;
        }
    }
}
