//! Server optimisers: the aggregate is taken as if it were a gradient step (Reddi et al. 2021, algorithm 2). One file and
//! one row for each.

mod sgd;

use std::sync::Arc;

use tributary_common::Digest;
use tributary_common::config::{self, Row, Table, choose};
use tributary_common::parameters::{Dtype, Parameters, Pool};
use tributary_common::sum::SPAN;

pub use sgd::Sgd;

use crate::aggregate::{Aggregate, Error};
use crate::spread::{self, Threads};

/// Coordinates that are worked on at once: aggregate and weights in double precision stay in a first-level cache.
const PIECE: usize = 1024;

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
    /// Memory of the version that is served and of the next.
    models: Pool,
}

impl Rule {
    /// Reads `[server]`; without it gradient descent with lr 1, which is federated averaging.
    ///
    /// # Errors
    /// Unknown optimisers or keys.
    pub fn parse(mut table: Table) -> Result<Self, config::Error> {
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
        let velocity = vec![0.0; if rule.state_bytes() > 0 { count } else { 0 }];
        Self { rule, velocity, models: Pool::default() }
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

    /// The next version with its digest: aggregate, momentum and weights in double precision piece by piece, each weight
    /// rounded once to its type. Spans are spread over threads, which no bit of the result shows. Needs memory for one more
    /// model.
    ///
    /// # Errors
    /// There is no update, or one cannot be read back.
    pub fn step(
        &mut self,
        model: &Parameters,
        aggregate: &dyn Aggregate,
        threads: Threads,
    ) -> Result<(Parameters, Digest), Error> {
        let layout = model.layout();
        let bytes = SPAN * layout.dtype().size();
        let mut next = self.models.take_or_new(layout.bytes(), 2 * layout.bytes());
        let mut hasher = layout.hasher();
        let mut velocities = self.velocity.chunks_mut(SPAN);
        let spans = model.bytes().chunks(bytes).zip(next.as_mut().chunks_mut(bytes)).enumerate();
        let spans = spans.map(|(index, (old, new))| Span { index, old, new, velocity: velocities.next() });
        let (rule, dtype) = (self.rule, layout.dtype());
        let work = |span| step(span, rule, dtype, aggregate);
        spread::in_order(threads.over(layout.bytes()), spans, work, |new| _ = hasher.update(new))?;
        let next = Parameters::new(Arc::clone(layout), next.into_bytes()).expect("the buffer was made for the layout");
        Ok((next, hasher.finalize().into()))
    }
}

/// Some neighbouring weights, before and after.
struct Span<'a> {
    index: usize,
    old: &'a [u8],
    new: &'a mut [u8],
    velocity: Option<&'a mut [f64]>,
}

/// Fills the weights after the step and returns them.
fn step<'a>(span: Span<'a>, rule: Rule, dtype: Dtype, aggregate: &dyn Aggregate) -> Result<&'a [u8], Error> {
    let mut combined = aggregate.open(span.index)?;
    let (mut delta, mut weights) = ([0.0; PIECE], [0.0; PIECE]);
    let velocity = span.velocity.unwrap_or_default();
    let mut at = span.index * SPAN;
    let pieces = span.old.chunks(PIECE * dtype.size()).zip(span.new.chunks_mut(PIECE * dtype.size()));
    for (i, (old, new)) in pieces.enumerate() {
        let count = old.len() / dtype.size();
        let (delta, weights) = (&mut delta[..count], &mut weights[..count]);
        combined.read(at..at + count, delta)?;
        dtype.read_all(old, weights);
        match rule {
            Rule::Sgd(sgd) => {
                let velocity = velocity.get_mut(i * PIECE..i * PIECE + count).unwrap_or_default();
                sgd.step(weights, delta, velocity);
            }
        }
        dtype.write_all(weights, new);
        at += count;
    }
    Ok(span.new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::config::Document;
    use tributary_common::parameters::{Dtype, Layout};
    use tributary_common::sum::Weight;

    use crate::aggregate::{self, Aggregator, Collected, Weights};

    fn parse(text: &str) -> Result<Rule, config::Error> {
        Rule::parse(Document::parse("s.toml", text).unwrap().table().section("server").unwrap())
    }

    /// By hand: two rounds with Δ = 1 from w = 0, lr 0.5, momentum 0.5. Plain: v = 1, 1.5; w = 0.5, 1.25.
    /// Nesterov: w = 0.5·(1 + 0.5·1) = 0.75, then + 0.5·(1 + 0.5·1.5) = 1.625.
    #[test]
    fn momentum_and_nesterov_are_those_of_the_definition() {
        let mean = Aggregator { rule: aggregate::Rule::Mean(Weights::Examples), bits: 40, max_examples: 100 };
        for (text, expected) in [
            ("lr = 0.5, momentum = 0.5", [0.5, 1.25]),
            ("lr = 0.5, momentum = 0.5, nesterov = true", [0.75, 1.625]),
            ("lr = 0.5", [0.5, 1.0]),
        ] {
            let rule = parse(&format!("[server]\noptimizer = {{ kind = 'sgd', {text} }}")).unwrap();
            let layout = Layout::new([("w", Dtype::F64, vec![5000])]).unwrap();
            let ones = Parameters::of_values(Arc::clone(&layout), [1.0; 5000]);
            let mut model = Parameters::zeros(layout);
            let mut optimizer = Optimizer::new(rule, 5000);
            for expected in expected {
                let mut collected = Collected::new(&mean, model.layout(), Threads::new(2)).unwrap();
                collected.take("a".parse().unwrap(), ones.clone(), Weight::new(7).unwrap()).unwrap();
                let digest;
                (model, digest) =
                    collected.combined(&mean, |mean| optimizer.step(&model, mean, Threads::new(2))).unwrap();
                assert_eq!(digest, model.digest());
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
