//! A federation in a folder: its authority, its members, a coordinator and clients as real processes.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::process::{self, Process, appears, example, free_address, say, tributary};

/// A federation's folder; gone with the test.
pub(crate) struct Federation {
    folder: TempDir,
}

impl Federation {
    /// A new authority in `ca`, and an identity `hub` for a coordinator.
    pub(crate) fn new() -> Self {
        let federation = Self { folder: tempfile::tempdir().unwrap() };
        say(federation.path(), &["certs", "init", "ca", "--federation", "test"]).ends_well();
        federation.issue("hub", "coordinator");
        federation
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Issues `name` with this role into a folder of that name.
    pub(crate) fn issue(&self, name: &str, role: &str) {
        say(self.path(), &["certs", "issue", "ca", name, "--role", role, "--out", name]).ends_well();
    }

    /// Writes a run file, by default the golden one with these lines replaced.
    pub(crate) fn run_file(&self, replace: &[(&str, &str)]) -> PathBuf {
        let mut text = std::fs::read_to_string(example("golden-fedavg.toml")).unwrap();
        for (from, to) in replace {
            assert!(text.contains(from), "`{from}` is not in the run file");
            text = text.replace(from, to);
        }
        let path = self.path().join("run.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts the coordinator of `run.toml`; its events are on standard output.
    pub(crate) fn coordinator(&self, more: &[&str]) -> Coordinator {
        let file = self.path().join("address");
        drop(std::fs::remove_file(&file));
        let mut command = tributary(self.path());
        command.args(["coordinator", "run.toml", "--identity", "hub", "--json-lines"]);
        if !more.contains(&"--listen") {
            command.args(["--listen", &free_address()]);
        }
        command.args(["--address-file", "address"]).args(more);
        let process = Process::start(&mut command);
        Coordinator { process, address: appears(&file) }
    }

    /// A client that takes `part` of the run file's partition.
    pub(crate) fn client(&self, name: &str, part: &str, address: &str) -> Process {
        self.client_with(name, address, &["--run", "run.toml", "--part", part])
    }

    /// The clients that a simulation of the run file would have, each with its part, and an evaluator with the test rows.
    pub(crate) fn members(&self, clients: usize, address: &str) -> Vec<Process> {
        let issue = |(name, role, part): (String, &str, String)| {
            self.issue(&name, role);
            self.client(&name, &part, address)
        };
        let named = |index: usize| (format!("client-{index:03}"), "client", index.to_string());
        let judge = ("judge".to_owned(), "evaluator", "test".to_owned());
        (0..clients).map(named).chain([judge]).map(issue).collect()
    }

    /// A client with these arguments.
    pub(crate) fn client_with(&self, name: &str, address: &str, more: &[&str]) -> Process {
        let mut command = tributary(self.path());
        command.args(["client", "--once", "--give-up-after", "60", "--identity", name, "--coordinator", address]);
        Process::start(command.args(more))
    }
}

/// A coordinator that runs.
pub(crate) struct Coordinator {
    pub(crate) process: Process,
    pub(crate) address: String,
}

/// Rounds, as `round model` lines.
pub(crate) fn models(events: &[serde_json::Value]) -> Vec<String> {
    let rounds = events.iter().filter(|event| event["event"] == "round");
    rounds.map(|round| format!("{} {}", round["round"], round["model"])).collect()
}

/// The simulated rounds of a run file.
pub(crate) fn simulated(folder: &Path, file: &Path, more: &[&str]) -> Vec<String> {
    let mut command = tributary(folder);
    command.arg("sim").arg(file).args(["--no-out", "--json-lines"]).args(more);
    if !more.contains(&"--stack") {
        // One client after the other, as each would train by itself, also where a device would rather train many at once.
        command.args(["--stack", "1"]);
    }
    models(&process::run(&mut command).ends_well().events())
}

/// Asserts that two ways to run a file committed the same models, and names the first that differs.
pub(crate) fn same(got: &[String], expected: &[String]) {
    let differs = got.iter().zip(expected).find(|(got, expected)| got != expected);
    assert_eq!(differs, None, "the first models that differ");
    assert_eq!(got.len(), expected.len(), "the number of rounds");
}
