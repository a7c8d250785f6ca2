//! What training and measuring take in memory between the layers, known before anything is allocated: a plan comes from
//! elsewhere, and must not make a device allocate until it dies.

use tributary_common::model::{Layer, Model};
use tributary_common::parameters::Dtype;

use super::Error;
use crate::plan::{Batch, Plan};

/// The most memory for values and gradients between the layers and for columns of convolutions: 16 GiB.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 34;

/// Whether a step of a client with so many examples stays below the limit that every trainer of ours has.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn check_step(plan: &Plan, examples: usize) -> Result<(), Error> {
    let batch = batch(plan, examples);
    check(batch, example_bytes(plan).saturating_mul(batch).saturating_add(columns_bytes(plan)))
}

/// Whether a batch that takes so many bytes stays below the limit.
pub(super) fn check(batch: usize, bytes: usize) -> Result<(), Error> {
    match bytes {
        0..=BATCH_BYTES_MAX => Ok(()),
        _ => Err(Error::TooLarge { batch, bytes_max: BATCH_BYTES_MAX }),
    }
}

/// The most examples of a step of a client that has so many.
pub(super) fn batch(plan: &Plan, examples: usize) -> usize {
    match plan.train.batch {
        Batch::All => examples,
        Batch::Size(size) => size.min(examples),
    }
}

/// Bytes of values and gradients that one example takes between the layers in training.
pub(super) fn example_bytes(plan: &Plan) -> usize {
    let sizes = plan.model.shapes.iter().flat_map(|shape| shape.iter().copied().reduce(usize::saturating_mul));
    let values = sizes.fold(0, usize::saturating_add);
    values.saturating_mul(2 * value_bytes(plan)).max(1)
}

/// Bytes of the largest columns of a convolution. One example after the other is unfolded into the same memory.
pub(super) fn columns_bytes(plan: &Plan) -> usize {
    let of = |index| columns(&plan.model, index).map_or(0, |(columns, _)| columns);
    (0..plan.model.layers.len()).map(of).max().unwrap_or_default().saturating_mul(value_bytes(plan))
}

/// Values that a convolution unfolds one group of an example's channels into, and its groups; none for other layers.
pub(super) fn columns(model: &Model, index: usize) -> Option<(usize, usize)> {
    let Layer::Conv2d(conv2d) = &model.layers[index] else { return None };
    let channels = model.shapes[index][0] / conv2d.groups;
    let positions = model.shapes[index + 1][1..].iter().copied().fold(1, usize::saturating_mul);
    let values = channels.saturating_mul(conv2d.kernel * conv2d.kernel).saturating_mul(positions);
    Some((values, conv2d.groups))
}

/// Bytes of a value as it is computed with: half precision is for parameters on their way.
fn value_bytes(plan: &Plan) -> usize {
    plan.model.dtype.size().max(Dtype::F32.size())
}
