//! The command as people use it: real processes, real certificates, real QUIC on loopback, real files.
//!
//! Every process listens on a port of its own choice, and ends with its test: see [`process::Process`].

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]
#![expect(clippy::disallowed_methods, reason = "processes are waited for in real time")]

mod bench;
mod best;
mod bits;
mod certificates;
mod check;
mod demo;
mod diverges;
mod doctor;
mod federation;
mod flood;
mod golden;
mod hostile;
mod journal;
mod kill;
mod later;
mod layers;
mod limits;
mod load;
mod membership;
mod midway;
mod mistakes;
mod process;
mod proxy;
mod published;
mod reach;
mod restart;
mod stop;
mod transfer;
mod unfit;
