//! The round machine: which client works on what, which update counts, when a version is committed.
//!
//! ```text
//!                 quorum missed: next attempt
//!         ┌───────────────────────────────────────┐
//!         ▼                                       │
//! Idle ─→ Collecting ─→ Closing ─→ Committing ─→ Idle … Done { reason }
//! ```
//!
//! Sans-IO: events and the time go in, effects come out. What depends on a row being durable waits for `Appended`.

mod closing;
mod effect;
mod ending;
mod evaluation;
mod event;
mod invariants;
mod machine;
mod opening;
mod peers;
mod phase;
mod resume;
mod roster;
mod row;
mod settings;
mod settled;
mod share;
mod slot;
mod standing;

pub use effect::{Effect, Fate, Reason, Report};
pub use event::Event;
pub use machine::Machine;
pub use phase::Phase;
pub use roster::Roster;
pub use row::{Recorded, Row};
pub use settings::{ATTEMPTS_MAX, CohortSize, Evaluation, Quorum, Settings, WEIGHT_MAX, WEIGHT_SUM_MAX};
pub use share::WeightShare;
pub use slot::{Loss, Slot};
pub use standing::Standing;

#[cfg(test)]
mod tests;
