//! The edge client, in reading order: what it has (data, partition, device), what it is to do (plan), how it trains, its half of
//! the protocol (machine) and the shell around it (agent).
//!
//! Deliberately not here: anything about rounds or other clients. Without the feature `candle` this is the library for
//! one's own trainer.

pub mod agent;
#[cfg(feature = "cli")]
pub mod cli;
pub mod crew;
pub mod data;
pub mod device;
pub mod join;
mod layer;
pub mod loss;
pub mod machine;
pub mod optimizer;
pub mod partition;
pub mod plan;
pub mod supply;
pub mod trainer;
