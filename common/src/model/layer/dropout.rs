//! `dropout`: in training each value is zero with probability `p`, the others are scaled by 1/(1 − p) (Srivastava et al.
//! 2014, in the inverted form that PyTorch uses). Masks come from the client's seed stream.

use super::Layer;
use crate::config::Row;

/// The largest probability: above it nearly nothing is left to train on.
const P_MAX: f64 = 0.99;

pub(super) const ROW: Row<Layer> = Row {
    name: "dropout",
    help: "zeros with probability p in training, p = 0.5",
    parse: |table| {
        let p = table.optional("p").map_or(Ok(0.5), |item| item.number_in(0.0..=P_MAX))?;
        Ok(Layer::Dropout(Dropout { p }))
    },
};

/// Random zeros in training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of a zero, from 0 to 0.99.
    pub p: f64,
}
