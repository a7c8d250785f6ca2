//! `mean`: Δ = Σ n_k Δ_k / Σ n_k (McMahan et al. 2017, algorithm 1, over differences instead of weights).

use tributary_common::config::{Row, choose};

use super::Rule;

pub(super) const ROW: Row<Rule> = Row {
    name: "mean",
    help: "weighted mean; weights = \"examples\" or \"uniform\"",
    parse: |table| {
        let words = [("examples", Weights::Examples), ("uniform", Weights::Uniform)];
        let weights = table.optional("weights").map(|item| choose::word(&words, "weights", &item)).transpose()?;
        Ok(Rule::Mean(weights.unwrap_or(Weights::Examples)))
    },
};

/// What an update weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// The number of examples that it was trained on.
    Examples,
    /// The same for every client.
    Uniform,
}
