//! What `tributary bench` measures.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tributary_client::cli;

use super::{Device, RunFile, seconds};

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Training: milliseconds a step and examples a second with a run file's model, on one thread
    Train(BenchTrain),
    /// Adding updates to the exact sum: bytes a second, and the time of a whole aggregation
    Fold(BenchFold),
    /// Rounds over loopback between a real coordinator and real clients, without training; or the way to a coordinator
    Link(BenchLink),
}

#[derive(Debug, Args)]
pub(crate) struct BenchTrain {
    #[command(flatten)]
    pub(crate) run: RunFile,
    #[command(flatten)]
    pub(crate) device: Device,
    /// How long to measure each thing
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(crate) seconds: f64,
}

#[derive(Debug, Args)]
pub(crate) struct BenchFold {
    /// Parameters of the model
    #[arg(long, default_value_t = 1_663_370, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(crate) parameters: u64,
    /// Updates of one aggregation
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) updates: u64,
    /// Threads of one aggregation
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=8))]
    pub(crate) threads: u64,
    /// How long to measure each thing
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub(crate) seconds: f64,
}

#[derive(Debug, Args)]
pub(crate) struct BenchLink {
    /// The run file, for rounds over loopback
    #[arg(value_name = "RUN.toml", required_unless_present = "identity", conflicts_with = "identity")]
    pub(crate) file: Option<PathBuf>,
    /// Set a value over the file
    #[arg(long, value_name = "SECTION.KEY=VALUE", conflicts_with = "identity")]
    pub(crate) set: Vec<String>,
    /// Identity folder of a member, to measure the way to its coordinator instead; its client must not run meanwhile
    #[arg(long, value_name = "DIR")]
    pub(crate) identity: Option<PathBuf>,
    /// That coordinator; by default the one that the identity has joined
    #[arg(long, value_name = "HOST:PORT", requires = "identity", conflicts_with = "file", value_parser = cli::address)]
    pub(crate) coordinator: Option<String>,
    /// Clients over loopback
    #[arg(long, default_value_t = 2, conflicts_with = "identity", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) clients: u64,
    /// Rounds over loopback, or downloads from a coordinator
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) rounds: u64,
}
