//! The client's half of the protocol as a sans-IO machine: offers come in, work goes out.
//!
//! ```text
//! Idle → Fetching → Training → Uploading → Idle        training (sealing is part of the training thread's work)
//! Idle → Fetching → Measuring → Reporting → Idle       evaluation
//! ```
//!
//! The machine knows tickets, never tensors: the shell (agent or simulation) keeps the model, the update and the results
//! under their tickets. State is level-triggered: after any reconnect the coordinator's offers alone bring the machine to
//! the truth, and an update that was not acknowledged is put again.

mod effect;
mod event;
mod state;

pub use effect::Effect;
pub use event::Event;
pub use state::{Machine, OFFERS_MAX, Phase};

#[cfg(test)]
mod tests;
