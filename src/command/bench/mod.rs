//! `tributary bench`: what this device can do. One file for each measurement.

mod fold;
mod link;
mod null;
mod times;
mod train;

use crate::arguments::BenchCommand;
use crate::exit::Failure;
use crate::output::Output;

/// Runs the measurement that was asked for; the number is the exit code.
pub(super) fn run(command: &BenchCommand, output: Output) -> Result<u8, Failure> {
    match command {
        BenchCommand::Fold(fold) => fold::run(fold, output),
        BenchCommand::Link(link) => link::run(link, output),
        BenchCommand::Train(train) => train::run(train, output),
    }
}
