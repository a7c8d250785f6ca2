//! The coordinator, in reading order: who is chosen (select), what a round is (round), how updates are combined
//! (aggregate, optimize), where it is kept (store), and the shell that serves clients (server).
//!
//! Deliberately not here: training, data, and any tensor library. The coordinator moves bytes and adds integers.

pub mod aggregate;
#[cfg(test)]
mod faults;
pub mod optimize;
#[cfg(test)]
mod planted;
pub mod receipt;
pub mod record;
pub mod round;
pub mod screen;
pub mod select;
pub mod server;
mod spread;
pub mod store;
pub mod strategy;

pub use spread::Threads;
pub use strategy::Strategy;
