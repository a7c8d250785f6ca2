//! CPU kernels: what the rest of the workspace does not want to write with vectors and cache sizes in mind.
//!
//! * [`fold`]: adding updates to the exact integer sum. Always here, without any dependency.
//!
//! No kernel starts a thread, draws a random number or reads a clock; callers own all three.

pub mod fold;
