//! What both sides share, in reading order: names and numbers, parameters, randomness, exact sums, metrics, the model's
//! specification, run files, stages, messages and the wire.
//!
//! Deliberately not here: training (client), the round machine (coordinator), certificates (certs). Without the feature
//! `net` nothing in this crate knows tokio.

pub mod config;
pub mod digest;
pub mod event;
pub mod id;
pub mod identity;
pub mod message;
pub mod metrics;
pub mod model;
#[cfg(feature = "net")]
pub mod net;
pub mod parameters;
pub mod registry;
pub mod rng;
pub mod stage;
pub mod sum;
pub mod time;
pub mod wire;

pub use digest::Digest;
