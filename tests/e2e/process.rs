//! Runs the command: to its end, or beside the test until it is not needed any more.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No process here needs longer, also on a busy machine.
const LONGEST: Duration = Duration::from_secs(120);

/// An address that nobody has, and that stays free while a coordinator is away: its port lies below those that the system
/// hands out, and no other test is given it.
pub(crate) fn free_address() -> String {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Processes of other test runs begin elsewhere.
    let begin = std::process::id().wrapping_mul(389);
    (0..COUNT)
        .map(|_| FIRST + begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .map(|port| format!("127.0.0.1:{port}"))
        .find(|address| std::net::UdpSocket::bind(address).is_ok())
        .expect("one of many ports is free")
}

/// A number that whoever runs the tests has set.
pub(crate) fn from_outside(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The command, to be run in `folder`. It computes where `TRIBUTARY_DEVICE` says, on the cores if that says nothing.
pub(crate) fn tributary(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null());
    if std::env::var_os("TRIBUTARY_DEVICE").is_none() {
        command.env("TRIBUTARY_DEVICE", "cpu");
    }
    command
}

/// A committed run file.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// What a command said, and how it ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts the exit code and that every one of `parts` is said on standard error.
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is not said:\n{}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }

    /// Asserts a good end.
    pub(crate) fn ends_well(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    /// Standard output as JSON lines.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Standard output as one JSON document.
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Said {
    Said::of(&command.output().unwrap())
}

/// Runs `tributary` with these arguments in `folder`.
pub(crate) fn say(folder: &Path, arguments: &[&str]) -> Said {
    run(tributary(folder).args(arguments))
}

/// A process beside the test; killed when dropped.
pub(crate) struct Process {
    child: Option<Child>,
    /// Lines of standard error, read as they come: a process that nobody listens to would stop when its pipe is full.
    said: Receiver<String>,
}

impl Process {
    /// Starts a command; what it says is kept for [`Process::end`].
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        let (outbox, said) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = err.split(b'\n').map_while(Result::ok);
            // Nobody listens once the process was dropped; what it says is read on all the same.
            lines.for_each(|line| drop(outbox.send(String::from_utf8_lossy(&line).into_owned())));
        });
        Self { child: Some(child), said }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends a signal, by its name: INT, TERM, KILL.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// `kill -9`; when this returns, nothing of the process is left.
    pub(crate) fn kill(&mut self) {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Events on standard output as they come. Standard output is not kept for [`Process::end`] then.
    pub(crate) fn events(&mut self) -> Events {
        Events(BufReader::new(self.child.as_mut().unwrap().stdout.take().unwrap()).lines())
    }

    /// Waits until this is said on standard error. What was said up to then is not kept for [`Process::end`].
    pub(crate) fn says(&self, part: &str) {
        let found = self.said.iter().any(|line| line.contains(part));
        assert!(found, "the process ended without `{part}`");
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Said {
        let child = self.child.take().unwrap();
        let began = Instant::now();
        // Standard output is read on a thread of its own too.
        let id = child.id();
        let watch = std::thread::spawn(move || child.wait_with_output());
        while !watch.is_finished() {
            if began.elapsed() > LONGEST {
                Command::new("kill").arg("-KILL").arg(id.to_string()).status().unwrap();
                panic!("the process did not end within {} s", LONGEST.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let err = self.said.iter().fold(String::new(), |text, line| text + &line + "\n");
        Said { err, ..Said::of(&watch.join().unwrap().unwrap()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A process's events.
pub(crate) struct Events(std::io::Lines<BufReader<ChildStdout>>);

impl Events {
    /// The next event of this kind.
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        self.find(|event| event["event"] == kind).unwrap_or_else(|| panic!("the process ended without `{kind}`"))
    }
}

impl Iterator for Events {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        Some(serde_json::from_str(&self.0.next()?.unwrap()).unwrap())
    }
}

/// Waits for a file of this extension to appear in a folder.
pub(crate) fn appears_in(folder: &Path, extension: &str) {
    let began = Instant::now();
    let is_wanted = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|found| found == extension))
    };
    while !std::fs::read_dir(folder).is_ok_and(|mut entries| entries.any(is_wanted)) {
        assert!(began.elapsed() < LONGEST, "no .{extension} appeared in `{}`", folder.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a file to appear and returns what it holds.
pub(crate) fn appears(path: &Path) -> String {
    let began = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(path) {
            return text;
        }
        assert!(began.elapsed() < LONGEST, "`{}` did not appear", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes whose command line names this folder.
pub(crate) fn processes_of(folder: &Path) -> Vec<u32> {
    let wanted = folder.display().to_string();
    let entries =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let names = |id: &u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        // A process that has ended and was not waited for has no command line.
        String::from_utf8_lossy(&line).contains(&wanted)
    };
    entries.filter(names).collect()
}

/// Waits until no process names this folder any more: nothing outlives the one that made it.
pub(crate) fn ends_alone(folder: &Path) {
    let began = Instant::now();
    while !processes_of(folder).is_empty() {
        assert!(began.elapsed() < LONGEST, "processes of `{}` outlive their parent", folder.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}
