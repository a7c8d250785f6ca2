//! What a client has: examples from a data source, held compactly, read as the model's input.
//!
//! A source is one file and one row of [`SOURCES`]. Raw values never appear in errors or `Debug` output: an error may be
//! sent to the coordinator, so it names file, row and column instead.
//!
//! Deliberately not here: which examples belong to which client ([`crate::partition`]) and the order in which training
//! reads them.

mod csv;
mod dataset;
mod digits;
mod error;
mod idx;
mod scale;
pub(crate) mod source;
mod synthetic;
mod test_rows;

pub use dataset::{Dataset, Features, Labels};
pub use error::Error;
pub use scale::Real;
pub use source::{Loaded, Place, SOURCES, Source, SourceRow};
pub use synthetic::{CENTRE_VALUES_MAX, Clouds};
pub use test_rows::TestRows;

/// The most examples of one data set: an index is four bytes.
pub const EXAMPLES_MAX: usize = u32::MAX as usize;

/// The most bytes that are read from one file, after decompression: 16 GiB.
pub const FILE_BYTES_MAX: u64 = 1 << 34;
