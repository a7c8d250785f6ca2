//! Everything that comes from outside, as functions over bytes: no input may make one of them panic, run on, or take more
//! memory than it declares.
//!
//! `tests/smoke.rs` runs every target over its corpus and seeded mutations of it, on the stable toolchain, with every change.
//! `libfuzzer/` is the door for coverage-guided fuzzing; `docs/reliability.md` has the commands. What a fuzzer found stands
//! in the corpus from then on.

mod source;
pub mod target;

pub use source::Source;
pub use target::{TARGETS, Target};
