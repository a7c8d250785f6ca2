//! What the normalisations share: ε, the last dimensions that are normalised, and parameters that begin as the identity.

use super::{Parameter, Shape};
use crate::config::{Error, Table};
use crate::model::initial::Kind;

/// ε where none is given, as in PyTorch.
pub(super) const EPS: f64 = 1e-5;

/// The most dimensions of an example.
const DIMS_MAX: usize = 4;

/// `eps`: what is added to the variance so that nothing is divided by zero.
pub(super) fn eps(table: &mut Table) -> Result<Option<f64>, Error> {
    table.optional("eps").map(|item| item.number_in(f64::MIN_POSITIVE..=1.0)).transpose()
}

/// `dims`: how many of the last dimensions are normalised together.
pub(super) fn dims(table: &mut Table) -> Result<usize, Error> {
    table.optional("dims").map_or(Ok(1), |item| item.size(1..=DIMS_MAX))
}

/// The last `dims` dimensions of `input`.
pub(super) fn last(input: &Shape, dims: usize) -> Result<&[usize], String> {
    match input.len().checked_sub(dims) {
        Some(leading) => Ok(&input[leading..]),
        None => Err(format!("it normalises the last {dims} dimensions together")),
    }
}

/// A scale and, if wanted, a shift of this shape: ones and zeros in the beginning.
pub(super) fn parameters(index: usize, shape: &[usize], kinds: &[Kind]) -> Vec<Parameter> {
    let size = shape.iter().product();
    let of = |&kind: &Kind| Parameter {
        name: format!("{index}.{}", if kind == Kind::Shift { "bias" } else { "weight" }),
        shape: shape.to_vec(),
        fan_in: size,
        fan_out: size,
        kind,
    };
    kinds.iter().map(of).collect()
}
