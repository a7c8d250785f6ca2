//! What can be typed.

mod bench;
mod certs;
mod size;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tributary_client::{cli, device};

pub(crate) use bench::{Bench, BenchCommand, BenchFold, BenchLink, BenchTrain};
pub(crate) use certs::{Certs, CertsCommand, Role};

/// What scripts rely on, and where to begin.
const AFTER_HELP: &str = "\
Begin with `tributary demo`: ten clients learn to read digits on this machine, in seconds.

Exit codes:
    0  done
    1  the run failed, or `doctor` found something that must be mended
    2  wrong arguments
    3  wrong run file, data or run folder
    4  the coordinator cannot be reached
    5  not authorised
    6  below evaluate.gate
  130  stopped by a signal";

/// Federated learning over QUIC: coordinator, clients, simulator, certificates and reports in one tool.
#[derive(Debug, Parser)]
#[command(name = "tributary", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How this program was called: what is to be typed to call it again. `cargo run` calls it by a path.
pub(crate) fn program() -> String {
    let called = std::env::args().next().filter(|name| name.contains('/'));
    called.map_or_else(|| "tributary".to_owned(), |name| quoted(&name))
}

/// `text` as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,%+@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true, conflicts_with = "json_lines")]
    pub(crate) json: bool,
    /// Print one JSON object for every event (docs/events.schema.json)
    #[arg(long, global = true)]
    pub(crate) json_lines: bool,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a coordinator, clients and an evaluator as real processes on this machine
    Demo(Demo),
    /// Simulate a run; the same file deploys
    Sim(Sim),
    /// Check a run file: shapes, parameters, skew of the partition, bytes a round, memory
    Check(Check),
    /// Measure what this device can do: training, adding updates, the link
    Bench(Bench),
    /// Say what of this machine, an identity or the way to a coordinator would stop a run, and how to mend it
    Doctor(Doctor),
    /// Serve a run to clients
    Coordinator(Coordinator),
    /// Take part in a run with this machine's data
    Client(cli::Arguments),
    /// Make and look at the federation's certificates
    Certs(Certs),
    /// Load a coordinator with many clients in one process: its own, or one that is to be trusted
    Load(Load),
    /// Write the report of a run as one HTML page
    Report(Report),
    /// Tell the story of a run from its journal
    Inspect(Inspect),
    /// Check a run's journal and files against their digests
    Verify(RunFolder),
    /// Go back to an earlier version of a run; what came after it is kept and counts no more
    Rollback(Rollback),
    /// Measure a saved model
    Eval(Eval),
    /// List every layer, rule, partition, source and so on
    List(List),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder
    Man {
        /// The folder
        folder: PathBuf,
    },
}

/// A run file and what is set over it.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunFile {
    /// The run file
    #[arg(value_name = "RUN.toml")]
    pub(crate) file: PathBuf,
    /// Set a value over the file, as in --set train.batch=32
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl RunFile {
    /// The same run as words of a shell.
    pub(crate) fn typed(&self) -> String {
        let file = quoted(&self.file.display().to_string());
        self.set.iter().fold(file, |words, set| format!("{words} --set {}", quoted(set)))
    }
}

/// What trains or measures.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Device {
    /// What computes: auto, cpu or cuda:N; auto is the first CUDA device, or the CPU where there is none. By default what
    /// the environment's TRIBUTARY_DEVICE says, or auto
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<device::Choice>,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// A run file; without one, digits dealt to ten clients, two classes each
    #[arg(value_name = "RUN.toml")]
    pub(crate) file: Option<PathBuf>,
    /// Set a value over the file
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Folder for the run; by default a new one below runs/
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: Device,
}

/// The most threads of a simulation: more than the cores of most machines, and fewer than a system lets a user start.
pub(crate) const WORKERS_MAX: u16 = 256;

#[derive(Debug, Args)]
pub(crate) struct Sim {
    #[command(flatten)]
    pub(crate) run: RunFile,
    /// Folder for the run; by default a new one below runs/
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Keep nothing on disk
    #[arg(long, conflicts_with_all = ["out", "resume"])]
    pub(crate) no_out: bool,
    /// Go on with the run in --out
    #[arg(long, requires = "out")]
    pub(crate) resume: bool,
    /// Threads that train, up to 256; by default one for each core
    #[arg(long, value_name = "THREADS", value_parser = clap::value_parser!(u16).range(1..=i64::from(WORKERS_MAX)))]
    pub(crate) workers: Option<u16>,
    /// Clients that each of them trains at once, their models stacked; by default 32 on a CUDA device, on the CPU 1, which is
    /// faster there. The last bits of a model depend on it
    #[arg(long, value_name = "CLIENTS", value_parser = clap::value_parser!(u16).range(1..=stack_max()))]
    pub(crate) stack: Option<u16>,
    #[command(flatten)]
    pub(crate) device: Device,
}

/// The most clients of a stack, as the parser wants it.
fn stack_max() -> i64 {
    i64::try_from(tributary_client::trainer::CLIENTS_MAX).expect("a few hundred")
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) run: RunFile,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// A run file to check; free disk is compared with what its run takes
    #[arg(value_name = "RUN.toml")]
    pub(crate) file: Option<PathBuf>,
    /// Set a value over the file
    #[arg(long, value_name = "SECTION.KEY=VALUE", requires = "file")]
    pub(crate) set: Vec<String>,
    /// Identity folder: its certificates, their end against this machine's clock, who can read its key
    #[arg(long, value_name = "DIR")]
    pub(crate) identity: Option<PathBuf>,
    /// A coordinator to reach; by default that of an identity that has joined
    #[arg(long, value_name = "HOST:PORT", value_parser = cli::address)]
    pub(crate) coordinator: Option<String>,
    /// Folder that the run will be in
    #[arg(long, default_value = "runs")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Coordinator {
    #[command(flatten)]
    pub(crate) run: RunFile,
    /// Identity folder with the role coordinator (`tributary certs issue`)
    #[arg(long, required_unless_present = "new_federation")]
    pub(crate) identity: Option<PathBuf>,
    /// Make an authority and the coordinator's identity at the first start, below federation/
    #[arg(long)]
    pub(crate) new_federation: bool,
    /// Folder of the authority: devices can join here with a token, and members renew their certificates
    #[arg(long, value_name = "DIR")]
    pub(crate) authority: Option<PathBuf>,
    /// Where devices join; by default the next port after --listen
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) join_listen: Option<SocketAddr>,
    /// Host name or address by which devices reach this coordinator, for their tokens
    #[arg(long, value_name = "HOST")]
    pub(crate) public: Option<String>,
    /// Invite a client of this name, and print its token
    #[arg(long, value_name = "NAME")]
    pub(crate) invite: Vec<String>,
    /// Seconds for which members' certificates are valid; by default seven days
    #[arg(long, hide = true)]
    pub(crate) member_seconds: Option<u64>,
    /// Seconds for which the certificate that --new-federation makes for the coordinator is valid; by default 90 days
    #[arg(long, hide = true)]
    pub(crate) own_seconds: Option<u64>,
    /// Where to listen; port 0 is any free one
    #[arg(long, default_value = "0.0.0.0:4433")]
    pub(crate) listen: SocketAddr,
    /// Handshakes a second from one address, ten times as many at once: more than the default where thousands of clients
    /// come through one router
    #[arg(long, default_value_t = 200, value_name = "A_SECOND", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) handshakes_per_address: u32,
    /// Folder for the run; by default a new one below runs/
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Go on with the run in --out, or with the newest below runs/, and begin no other. An unfinished run of the same
    /// configuration goes on without it too
    #[arg(long)]
    pub(crate) resume: bool,
    /// End when standard input closes
    #[arg(long, hide = true)]
    pub(crate) tethered: bool,
    /// Write the address to this file once it is known
    #[arg(long, hide = true)]
    pub(crate) address_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Address of the coordinator; without one the load starts its own on this machine, in a temporary folder
    #[arg(long, value_name = "HOST:PORT", requires = "authority", value_parser = cli::address)]
    pub(crate) coordinator: Option<String>,
    /// Folder of the authority that the coordinator trusts; the clients' identities are made for this load
    #[arg(long, value_name = "DIR", requires = "coordinator")]
    pub(crate) authority: Option<PathBuf>,
    /// Size of the model where the load starts its own coordinator, as in 256KB, 1MB or 1.5MiB; by default 100KB
    #[arg(long, value_parser = size::model_bytes)]
    pub(crate) size: Option<u64>,
    /// Rounds where the load starts its own coordinator; by default 10, with --seconds as many as there is time for
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rounds: Option<u64>,
    /// Clients
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) clients: u64,
    /// End after so many seconds; by default with the run
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
    /// Seconds that a client takes for an update
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS", value_parser = pause)]
    pub(crate) think: f64,
    /// Probability that a client leaves for a while when work comes
    #[arg(long, default_value_t = 0.0, value_name = "PROBABILITY", value_parser = probability)]
    pub(crate) churn: f64,
    /// Probability that a client loses its connection and its work soon after work came
    #[arg(long, default_value_t = 0.0, value_name = "PROBABILITY", value_parser = probability)]
    pub(crate) cut: f64,
    /// Seed of churn and cuts
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Process id of the coordinator at --coordinator, if it is on this machine: its peak memory is told
    #[arg(long, requires = "coordinator")]
    pub(crate) pid: Option<u32>,
}

fn number_in(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|error| error.to_string())?;
    if range.contains(&number) { Ok(number) } else { Err(format!("must be from {} to {}", range.start(), range.end())) }
}

fn seconds(text: &str) -> Result<f64, String> {
    number_in(text, 0.001..=86_400.0)
}

fn pause(text: &str) -> Result<f64, String> {
    number_in(text, 0.0..=3600.0)
}

fn probability(text: &str) -> Result<f64, String> {
    number_in(text, 0.0..=1.0)
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub(crate) folder: PathBuf,
    /// Say which accepted update this receipt is of, 64 hexadecimal digits as the client printed them
    #[arg(long, value_name = "RECEIPT")]
    pub(crate) receipt: Option<tributary_common::Digest>,
}

#[derive(Debug, Args)]
pub(crate) struct RunFolder {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Folder of the run, which no process is at work on
    #[arg(value_name = "RUN")]
    pub(crate) folder: PathBuf,
    /// The version to go on from; `tributary inspect` names them
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Folder of the run
    pub(crate) folder: PathBuf,
    /// The page; by default report.html in the folder
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// A model file (safetensors)
    pub(crate) model: PathBuf,
    /// The run file that describes the model
    #[arg(long, value_name = "RUN.toml")]
    pub(crate) run: PathBuf,
    /// Set a value over that file
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// What to measure on; by default the run file's test examples
    #[arg(long, value_name = "SOURCE")]
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) device: Device,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this kind: layers, rules, partitions, …
    pub(crate) kind: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    /// What is shown as the next command is pasted into a shell as it stands.
    #[test]
    fn words_are_quoted_where_a_shell_would_part_or_change_them() {
        for (word, expected) in [
            ("train.batch=32", "train.batch=32"),
            ("a b", "'a b'"),
            ("x=['a']", r"'x=['\''a'\'']'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
