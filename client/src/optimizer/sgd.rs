//! `sgd`: stochastic gradient descent with momentum (Sutskever et al. 2013), weight decay and Nesterov's look-ahead, with
//! the meaning that `torch.optim.SGD` gives them: d = g + wd·w, v ← m·v + d, w ← w − lr·v.

use tributary_common::config::{Row, Table};
use tributary_kernels::real::Real;
use tributary_kernels::sgd::{Momentum, Step};

use super::Optimizer;

/// Learning rates are numbers of single precision too.
const LR_MIN: f64 = f32::MIN_POSITIVE as f64;

/// As above.
const LR_MAX: f64 = f32::MAX as f64;

pub(super) const ROW: Row<Optimizer> = Row {
    name: "sgd",
    help: "gradient descent; lr, momentum = 0, weight_decay = 0, nesterov = false",
    parse: |table| parse(table).map(Optimizer::Sgd),
};

/// Stochastic gradient descent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate, positive.
    pub lr: f64,
    /// How much of the velocity stays, from 0 to 1; 0 is none.
    pub momentum: f64,
    /// L2 penalty, at least 0; also on biases.
    pub weight_decay: f64,
    /// Whether the step looks ahead; needs momentum.
    pub nesterov: bool,
}

fn parse(table: &mut Table) -> Result<Sgd, tributary_common::config::Error> {
    let lr = table.required("lr")?.number_in(LR_MIN..=LR_MAX)?;
    let momentum = table.optional("momentum").map_or(Ok(0.0), |item| item.number_in(0.0..=1.0))?;
    let weight_decay = table.optional("weight_decay").map_or(Ok(0.0), |item| item.number_in(0.0..=LR_MAX))?;
    let nesterov = match table.optional("nesterov") {
        Some(item) if item.flag()? && momentum <= 0.0 => {
            return Err(item
                .fail("`nesterov` needs momentum")
                .with_hint("give `momentum`, for example momentum = 0.9"));
        }
        Some(item) => item.flag()?,
        None => false,
    };
    Ok(Sgd { lr, momentum, weight_decay, nesterov })
}

impl Sgd {
    /// The constants of one step in the model's type.
    pub(crate) fn step<T: Real>(self) -> Step<T> {
        Step { learning_rate: T::from_f64(self.lr), weight_decay: T::from_f64(self.weight_decay) }
    }

    /// The velocity's constants; none for plain descent, which needs no velocity.
    pub(crate) fn momentum<T: Real>(self) -> Option<Momentum<T>> {
        (self.momentum > 0.0).then(|| Momentum { factor: T::from_f64(self.momentum), nesterov: self.nesterov })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::config::{Document, choose};

    #[test]
    fn impossible_constants_are_refused() {
        let read = |text: &str| {
            let mut root =
                Document::parse("s.toml", &format!("optimizer = {{ kind = 'sgd', {text} }}")).unwrap().table();
            choose::from_item(super::super::ROWS, "optimizer", root.required("optimizer").unwrap())
                .map_err(|error| error.to_string())
        };
        let sgd = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov: true };
        assert_eq!(read("lr = 0.1, momentum = 0.9, weight_decay = 0.01, nesterov = true"), Ok(Optimizer::Sgd(sgd)));
        for (text, expected) in [
            ("lr = 0", "must be above 0"),
            ("momentum = 0.5", "`optimizer.lr` is missing"),
            ("lr = 1, momentum = 1.5", "from 0 to 1"),
            ("lr = 1, weight_decay = -1", "found -1"),
            ("lr = 1, nesterov = true", "needs momentum"),
            ("lr = 1, decay = 1", "unknown key `decay`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
