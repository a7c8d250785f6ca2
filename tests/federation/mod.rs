//! A federation of real processes on loopback: what the tests of membership need. Every process ends with its test.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Digits dealt to three clients; ends only when it is told to.
const ENDLESS: &str = r#"
[run]
name = "endless"
seed = 1
rounds = 1000000
[cohort]
size = "all"
wait_for = 3
quorum = 1
deadline = "10m"
[input]
shape = [64]
divide = 16
classes = 10
[data]
source = "digits"
partition = { kind = "iid", clients = 3 }
[model]
layers = [{ kind = "linear", out = 10 }]
[train]
loss = "cross_entropy"
optimizer = { kind = "sgd", lr = 0.1 }
epochs = 1
batch = 16
[server]
optimizer = { kind = "sgd", lr = 1.0 }
"#;

#[expect(clippy::disallowed_methods, reason = "a test of real processes measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Runs a command to its end.
pub(crate) fn tributary(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tributary")).current_dir(folder).args(arguments).output().unwrap()
}

/// As [`tributary`]; it must succeed. What it printed.
#[track_caller]
pub(crate) fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = tributary(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A running process, ended when it is dropped. What it prints is kept.
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .current_dir(folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        keep(child.stdout.take().unwrap(), &lines);
        keep(child.stderr.take().unwrap(), &lines);
        Self { child, lines }
    }

    /// Waits for a line with `text` in it that was printed after the first `from` lines.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str, from: usize) -> String {
        let began = now();
        loop {
            let found = self.lines.lock().unwrap().iter().skip(from).find(|line| line.contains(text)).cloned();
            if let Some(line) = found {
                return line;
            }
            assert!(began.elapsed() < PATIENCE, "no `{text}` in {:#?}", self.lines.lock().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn n_lines(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// Waits for the process's own end: the exit code, and how long that took.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> (Option<i32>, Duration) {
        let began = now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "still running: {:#?}", self.lines.lock().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn keep(output: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A folder with a run file.
pub(crate) struct Federation {
    folder: tempfile::TempDir,
}

impl Federation {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("run.toml"), ENDLESS).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An authority, a coordinator's identity and three clients'.
    pub(crate) fn issue(&self) {
        succeed(self.path(), &["certs", "init", "authority", "--federation", "north"]);
        succeed(self.path(), &["certs", "issue", "authority", "hub", "--role", "coordinator", "--out", "hub"]);
        for name in ["a", "b", "c"] {
            succeed(self.path(), &["certs", "issue", "authority", name, "--out", name]);
        }
    }

    /// A coordinator with these arguments, and its address.
    pub(crate) fn coordinator(&self, more: &[&str]) -> (Process, String) {
        let fixed = ["coordinator", "run.toml", "--json-lines", "--tethered", "--listen", "127.0.0.1:0"];
        let arguments = [&fixed[..], &["--address-file", "address", "--out", "out"], more].concat();
        let process = Process::start(self.path(), &arguments);
        let began = now();
        loop {
            if let Ok(address) = std::fs::read_to_string(self.file("address")) {
                return (process, address);
            }
            assert!(began.elapsed() < PATIENCE, "no address: {:#?}", process.lines.lock().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The client of an identity folder, with one part of the data.
    pub(crate) fn client(&self, identity: &str, part: &str, coordinator: &str) -> Process {
        let fixed = ["client", "--run", "run.toml", "--part", part, "--tethered"];
        Process::start(self.path(), &[&fixed[..], &["--identity", identity, "--coordinator", coordinator]].concat())
    }
}
