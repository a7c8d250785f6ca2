//! A coordinator of the load's own: an authority, a run file with a model of the wanted size, and a process, all in a
//! temporary folder that goes with the load.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tributary_certs::Authority;
use tributary_common::identity::Role;
use tributary_common::model::input::EXAMPLE_VALUES_MAX;
use tributary_coordinator::server::Limits;

use super::VALIDITY;
use crate::arguments;
use crate::command::children::Children;
use crate::command::{certs, doctor, memory};
use crate::exit::{Failure, RUN_FAILED};
use crate::output::bytes;

/// The model of a load that names no size, in bytes.
const MODEL_BYTES: u64 = 100_000;

/// Rounds of a load that names neither rounds nor seconds.
const ROUNDS: u64 = 10;

/// Rounds of a load that names seconds: as many as a run file may ask for.
const ROUNDS_MAX: u64 = 1_000_000;

/// Bytes of a parameter.
const F32: u64 = 4;

/// Models on the disk beside the updates of a round: the version that is kept, the best one, and the next.
const MODELS: u64 = 3;

/// Models in memory for each client: what it was sent, its update, and the update on its way. Measured, with 100 clients
/// and 10 MB: 3.3.
const COPIES: u64 = 4;

/// Models in the memory of the coordinator: two versions, and the sum, which has twice as many bytes.
const COORDINATOR_COPIES: u64 = 4;

/// How long the coordinator may take to listen; before that it writes the first version.
const START: Duration = Duration::from_secs(120);

/// All clients come from one address, and at once.
const HANDSHAKES_PER_ADDRESS: &str = "1000";

/// What a load is made of before anything runs.
pub(super) struct Deployment {
    pub(super) authority: Authority,
    /// The coordinator alone.
    pub(super) children: Children,
    folder: TempDir,
}

impl Deployment {
    /// Writes everything down.
    pub(super) fn new(arguments: &arguments::Load) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("tributary-load-").tempdir().map_err(failed)?;
        has_room(folder.path(), arguments)?;
        let authority = Authority::create(&folder.path().join("authority"), "load", certs::now())
            .map_err(|error| Failure::new(RUN_FAILED, &error).with_hint(error.hint()))?;
        certs::issue(&authority, Role::Coordinator, "coordinator", VALIDITY, &folder.path().join("coordinator"))?;
        std::fs::write(folder.path().join("load.toml"), run_file(arguments)).map_err(failed)?;
        Ok(Self { authority, children: Children::default(), folder })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the coordinator; its address, none where the start is stopped.
    pub(super) fn start(&mut self, is_stopped: impl Fn() -> bool) -> Result<Option<String>, Failure> {
        let within = |name| self.folder.path().join(name);
        let mut coordinator =
            self.children.coordinator(&within("load.toml"), &within("coordinator"), &within("address"))?;
        coordinator.arg("--out").arg(within("run")).args(["--handshakes-per-address", HANDSHAKES_PER_ADDRESS]);
        self.children.start(coordinator)?;
        self.children.address(&within("address"), START, is_stopped)
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::new(RUN_FAILED, format!("could not make a temporary folder for a coordinator: {error}"))
        .with_hint(Some("name another place with TMPDIR"))
}

/// A load that fills the disk or the memory is refused before it begins.
fn has_room(folder: &Path, arguments: &arguments::Load) -> Result<(), Failure> {
    let size = arguments.size.unwrap_or(MODEL_BYTES);
    let disk = (arguments.clients + MODELS) * size + Limits::default().disk_floor_bytes;
    let place = format!("the disk of `{}`", folder.parent().unwrap_or(folder).display());
    fits(arguments.clients, size, disk, doctor::free(folder).map_err(failed)?, &place).map_err(|failure| {
        failure.with_hint(Some("give fewer --clients or a smaller --size, or name another disk with TMPDIR"))
    })?;
    let copies = COPIES * arguments.clients + COORDINATOR_COPIES;
    let available = memory::available().unwrap_or(u64::MAX);
    fits(arguments.clients, size, copies * size, available, "this machine's memory")
        .map_err(|failure| failure.with_hint(Some("give fewer --clients or a smaller --size")))
}

fn fits(clients: u64, size: u64, needed: u64, free: u64, place: &str) -> Result<(), Failure> {
    memory::fits(&format!("{clients} clients with a model of {} take", bytes(size)), needed, place, free)
}

/// Every client is asked in every round, but where some come and go, the others are enough.
fn run_file(arguments: &arguments::Load) -> String {
    let rounds = arguments.rounds.unwrap_or(if arguments.seconds.is_some() { ROUNDS_MAX } else { ROUNDS });
    let Shape { inputs, width } = Shape::of(arguments.size.unwrap_or(MODEL_BYTES));
    format!(
        r#"run = {{ name = "load", rounds = {rounds}, keep_models = 1 }}
cohort = {{ size = "all", wait_for = {clients}, quorum = "40%" }}
input = {{ shape = [{inputs}] }}
model = {{ init = "zeros", layers = [
  {{ kind = "linear", out = {width}, bias = false }},
  {{ kind = "linear", out = 1, bias = false }},
] }}
train = {{ loss = "mse", optimizer = {{ kind = "sgd", lr = 0.1 }}, epochs = 1, batch = 1 }}
"#,
        clients = arguments.clients,
    )
}

/// Two layers with width · (inputs + 1) parameters.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    inputs: u64,
    width: u64,
}

impl Shape {
    /// About so many bytes: exactly, where one output is enough, up to four bytes too few for each output where it takes
    /// more.
    const fn of(bytes: u64) -> Self {
        let parameters = bytes / F32;
        let width = parameters.div_ceil(EXAMPLE_VALUES_MAX as u64);
        Self { inputs: parameters / width - 1, width }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use tributary_client::plan::Plan;
    use tributary_common::config::Document;
    use tributary_coordinator::Strategy;

    /// What goes wrong without it: a load of a size that can be typed fails in its coordinator.
    #[test]
    fn models_have_the_size_that_was_typed() {
        for (typed, bytes) in [("8B", 8), ("11B", 8), ("1MB", 1_000_000), ("256MiB", 1 << 28), ("64GiB", 1 << 36)] {
            let line = ["tributary", "load", "--size", typed, "--clients", "10000", "--rounds", "1000000"];
            let arguments::Command::Load(load) = arguments::Arguments::parse_from(line).command else {
                panic!("another command")
            };
            let document = Document::parse("load.toml", &run_file(&load)).unwrap();
            assert_eq!(Plan::parse(&document).unwrap().model.layout.bytes(), bytes, "{typed}");
            Strategy::parse(&document).unwrap();
        }
        let Shape { inputs, width } = Shape::of(1_000_000_000);
        let found = F32 * width * (inputs + 1);
        assert!((1_000_000_000 - F32 * width..=1_000_000_000).contains(&found), "{found}");
    }
    #[test]
    fn a_load_fits_into_what_is_free_to_the_last_byte() {
        fits(2, 30, 100, 100, "here").unwrap();
        let text = fits(2, 30, 100, 99, "here").unwrap_err().text;
        assert_eq!(text, "2 clients with a model of 30 B take 100 B of here, 99 B are free");
    }
}
