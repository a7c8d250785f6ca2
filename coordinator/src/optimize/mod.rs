//! Server optimisers: the aggregate is taken as if it were a gradient step (Reddi et al. 2021, algorithm 2). One file and
//! one row for each.

mod sgd;

use std::sync::Arc;

use tributary_common::config::{Error, Row, Table, choose};
use tributary_common::parameters::{AlignedBuffer, Parameters};
use tributary_common::sum::BLOCK;

pub use sgd::Sgd;

use crate::aggregate::{self, Aggregate};

/// A server optimiser's rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Gradient descent with momentum.
    Sgd(Sgd),
}

/// Every server optimiser, by name.
pub const ROWS: &[Row<Rule>] = &[sgd::ROW];

/// A server optimiser with its state.
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Rule,
    /// One value a parameter where the rule has momentum, in packed order; kept in double precision.
    velocity: Vec<f64>,
}

impl Rule {
    /// Reads `[server]`; without it gradient descent with lr 1, which is federated averaging.
    ///
    /// # Errors
    /// Unknown optimisers or keys.
    pub fn parse(mut table: Table) -> Result<Self, Error> {
        let rule = match table.optional("optimizer") {
            Some(item) => choose::from_item(ROWS, "server optimizer", item)?,
            None => Self::Sgd(Sgd::AVERAGING),
        };
        table.finish()?;
        Ok(rule)
    }

    /// Bytes of state a parameter.
    #[must_use]
    pub const fn state_bytes(self) -> usize {
        match self {
            Self::Sgd(sgd) if sgd.has_velocity() => 8,
            Self::Sgd(_) => 0,
        }
    }
}

impl Optimizer {
    /// The optimiser before its first step, for a model of `count` parameters.
    #[must_use]
    pub fn new(rule: Rule, count: usize) -> Self {
        Self { rule, velocity: vec![0.0; if rule.state_bytes() > 0 { count } else { 0 }] }
    }

    /// The state as little-endian doubles, to be stored beside a version.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        self.velocity.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Takes a stored state; what does not fit this rule and model is no state of it.
    #[must_use]
    pub fn with_state(rule: Rule, count: usize, state: &[u8]) -> Option<Self> {
        let mut optimizer = Self::new(rule, count);
        if state.len() != optimizer.velocity.len() * 8 {
            return None;
        }
        for (value, chunk) in optimizer.velocity.iter_mut().zip(state.chunks_exact(8)) {
            *value = f64::from_le_bytes(chunk.try_into().expect("chunks have eight bytes"));
        }
        Some(optimizer)
    }

    /// The next version: aggregate, momentum and weights in double precision block by block, each weight rounded once to
    /// its type. Needs memory for one more model.
    ///
    /// # Errors
    /// There is no update, or one cannot be read back.
    pub fn step(&mut self, model: &Parameters, aggregate: &mut dyn Aggregate) -> Result<Parameters, aggregate::Error> {
        let mut next = AlignedBuffer::zeroed(model.layout().bytes());
        let mut delta = [0.0; BLOCK];
        let mut weights = [0.0; BLOCK];
        let mut at = 0;
        for tensor in model.layout().tensors() {
            let size = tensor.dtype.size();
            let old = model.tensor(tensor).chunks(BLOCK * size);
            let new = next.as_mut()[tensor.range()].chunks_mut(BLOCK * size);
            for (old, new) in old.zip(new) {
                let count = old.len() / size;
                let range = at..at + count;
                aggregate.read(range.clone(), &mut delta[..count])?;
                tensor.dtype.read_all(old, &mut weights[..count]);
                match self.rule {
                    Rule::Sgd(sgd) => {
                        let velocity = self.velocity.get_mut(range).unwrap_or_default();
                        sgd.step(&mut weights[..count], &delta[..count], velocity);
                    }
                }
                tensor.dtype.write_all(&weights[..count], new);
                at += count;
            }
        }
        Ok(Parameters::new(Arc::clone(model.layout()), next.into_bytes()).expect("the buffer was made for the layout"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::config::Document;
    use tributary_common::parameters::{Dtype, Layout};
    use tributary_common::sum::{Sum, Weight};

    fn parse(text: &str) -> Result<Rule, Error> {
        Rule::parse(Document::parse("s.toml", text).unwrap().table().section("server").unwrap())
    }

    /// By hand: two rounds with Δ = 1 from w = 0, lr 0.5, momentum 0.5. Plain: v = 1, 1.5; w = 0.5, 1.25.
    /// Nesterov: w = 0.5·(1 + 0.5·1) = 0.75, then + 0.5·(1 + 0.5·1.5) = 1.625.
    #[test]
    fn momentum_and_nesterov_are_those_of_the_definition() {
        for (text, expected) in [
            ("lr = 0.5, momentum = 0.5", [0.5, 1.25]),
            ("lr = 0.5, momentum = 0.5, nesterov = true", [0.75, 1.625]),
            ("lr = 0.5", [0.5, 1.0]),
        ] {
            let rule = parse(&format!("[server]\noptimizer = {{ kind = 'sgd', {text} }}")).unwrap();
            let layout = Layout::new([("w", Dtype::F64, vec![5000])]).unwrap();
            let mut model = Parameters::zeros(layout);
            let mut optimizer = Optimizer::new(rule, 5000);
            for expected in expected {
                let mut sum = Sum::new(5000, 40).unwrap();
                sum.add(&vec![1.0_f64; 5000], Weight::new(7).unwrap()).unwrap();
                model = optimizer.step(&model, &mut sum).unwrap();
                assert!(model.values().all(|value| (value - expected).abs() < 1e-15), "{text}");
                optimizer = Optimizer::with_state(rule, 5000, &optimizer.state()).unwrap();
            }
        }
    }

    #[test]
    fn impossible_optimizers_are_refused() {
        assert_eq!(parse("").unwrap(), Rule::Sgd(Sgd::AVERAGING));
        assert!(
            parse("[server]\noptimizer = { kind = 'sgd', nesterov = true }")
                .unwrap_err()
                .to_string()
                .contains("momentum")
        );
        assert!(parse("[server]\noptimizer = { kind = 'sgd', momentum = 1.0 }").is_err());
        assert!(parse("[server]\noptimiser = 'sgd'").unwrap_err().hint().unwrap().contains("`optimizer`"));
        assert!(Optimizer::with_state(Rule::Sgd(Sgd::AVERAGING), 5, &[0; 8]).is_none());
    }
}
