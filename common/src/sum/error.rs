//! Why an update, or a saved sum, cannot be added.

use super::{BITS_MAX, DELTA_MAX, WEIGHT_MAX, WEIGHT_TOTAL_MAX};

/// What was exceeded or does not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The resolution is finer than the limit.
    #[error("could not make a sum: {bits} bits of resolution are more than the {BITS_MAX} allowed")]
    BitsOutside {
        /// The resolution that was asked for.
        bits: u32,
    },
    /// A coordinate is larger than the limit.
    #[error("could not add update: coordinate {coordinate} is {value}, beyond ±{DELTA_MAX}")]
    DeltaOutside {
        /// Its index in the model.
        coordinate: usize,
        /// Its value.
        value: f64,
    },
    /// There is nothing to take the mean of.
    #[error("could not take the mean: nothing was added")]
    Empty,
    /// A length is not the sum's.
    #[error("could not add update: it ends at coordinate {end} of a model with {len}")]
    LengthDiffers {
        /// One past the last coordinate that came.
        end: usize,
        /// The coordinates of the sum.
        len: usize,
    },
    /// A coordinate is infinite or not a number.
    #[error("could not add update: coordinate {coordinate} is not finite")]
    NonFinite {
        /// Its index in the model.
        coordinate: usize,
    },
    /// Two sums of different form.
    #[error("could not merge sums: {len} coordinates at {bits} bits differ from {other_len} at {other_bits}")]
    ShapeDiffers {
        /// Coordinates of the one that stays.
        len: usize,
        /// Its resolution.
        bits: u32,
        /// Coordinates of the one that is added.
        other_len: usize,
        /// Its resolution.
        other_bits: u32,
    },
    /// A saved sum is no saved sum.
    #[error("could not read saved sum: {0}")]
    StateBroken(&'static str),
    /// A saved sum could not be read or written.
    #[error("could not read or write saved sum")]
    StateIo(#[from] std::io::Error),
    /// All weights together exceed the limit.
    #[error("could not add update: total weight {total} would exceed {WEIGHT_TOTAL_MAX}")]
    TotalWeightOutside {
        /// The total that would result.
        total: u64,
    },
    /// One weight exceeds the limit.
    #[error("could not add update: weight {weight} is not from 1 to {WEIGHT_MAX}")]
    WeightOutside {
        /// The weight that came.
        weight: u64,
    },
}
