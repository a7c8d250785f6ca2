//! Many clients in one process: the coordinator's machine and the clients' machines of a deployment, on a virtual clock,
//! with trainers on a pool of threads.
//!
//! Nothing here decides anything about rounds or training; it only delivers events in the order of a virtual time that does
//! not depend on the machine it runs on or on the number of workers. So a simulated run commits the same models as a
//! deployed one.

mod groups;
mod link;
mod population;
mod run;
mod settings;
mod workers;
mod world;

pub use population::Population;
pub use run::{Ended, Error, Run, simulate};
pub use settings::Settings;

#[cfg(test)]
mod tests;
