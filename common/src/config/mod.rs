//! Run files: TOML tables that remember their lines, so that every error names file, line and what to do.
//!
//! serde's derive would lose the line of a value inside a tagged enum and cannot refuse unknown keys there; so sections
//! are taken from spanned tables, key by key. What the sections mean stands with the crate that uses them.

mod document;
mod error;
mod item;
mod row;
mod table;

pub use document::{Document, RUN_FILE_BYTES_MAX};
pub use error::Error;
pub use item::Item;
pub use row::{Row, choose};
pub use table::Table;
