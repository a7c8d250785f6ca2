//! The exact sum of weighted updates: the one place where clients' work meets.
//!
//! Every coordinate is a fixed-point integer: `acc += round(Δ · 2^bits) · n`, ties to even. Integer addition is associative
//! and commutative, so any order of arrival, any split over threads, workers or aggregators and any resume from a saved
//! state gives the same bytes. Rounding happens once a coordinate and update, and once more in the mean.
//!
//! Coordinates stand in blocks of [`BLOCK`]. A block sums in i64 as long as the bound Σ n·max|Δ|·2^bits proves that nothing
//! can overflow, and widens to i128 before it no longer does; widening keeps the values, so nobody can see it in a result.
//! A coordinate costs 8 bytes, 16 in a widened block, none in a block that nothing was folded into.
//!
//! Deliberately not here: which updates count (the round machine), and what is done with the mean (server optimisers).

mod accumulator;
mod block;
mod error;
mod part;
mod piece;
mod quotient;
mod state;
mod value;
mod weight;

pub use accumulator::Sum;
pub use error::Error;
pub use part::{Part, Spare};
pub use piece::{check, check_bytes};
pub(crate) use quotient::quotient;
pub use tributary_kernels::fold::TOGETHER;
pub use value::Value;
pub use weight::Weight;

/// Coordinates a block: 32 KiB of i64, which a first- or second-level cache holds while many updates are folded into it.
pub const BLOCK: usize = 4096;

/// Coordinates of one update that are folded before those of the next: long enough for memory to stream, and few enough that
/// their sum (512 KiB) stays in a second-level cache.
pub const SPAN: usize = 16 * BLOCK;

/// The resolution where the run file names none: a coordinate is a multiple of 2^-40, about 1e-12.
pub const BITS_DEFAULT: u32 = 40;

/// The finest resolution. With the other limits the largest sum is 2^(52 + 32 + 42) = 2^126, which an i128 holds.
pub const BITS_MAX: u32 = 42;

/// The largest coordinate of an update by magnitude, 2^32.
pub const DELTA_MAX: f64 = 4_294_967_296.0;

/// The largest weight of one update, 2^32.
pub const WEIGHT_MAX: u64 = 1 << 32;

/// The largest weight of all updates together, 2^52: it and the resolution's power of two are exact in a double.
pub const WEIGHT_TOTAL_MAX: u64 = 1 << 52;
