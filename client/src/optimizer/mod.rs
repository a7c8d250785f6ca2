//! Local optimisers: how a client descends its objective. One file and one row each.

mod sgd;

use tributary_common::config::Row;

pub use sgd::Sgd;

/// A local optimiser with its constants. Its state begins anew in every round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
}

/// Every local optimiser, by name.
pub const ROWS: &[Row<Optimizer>] = &[sgd::ROW];
