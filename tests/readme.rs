//! Every command of the README, run as a reader would run it.
//!
//! A block of the README is run by what stands behind `sh` in its fence, which no renderer shows:
//!
//! - `sh run`: its commands run one after the other.
//! - `sh run together`: a deployment. All commands of such blocks that follow each other run at the same time, the first
//!   of them a coordinator; the others start once it listens.
//! - `text`: what the block of commands before it printed. Each of its lines must have been printed but for numbers.
//! - `toml`: a part of `examples/penguins.toml`.
//! - `sh`: not run. Each of its commands stands in [`NOT_RUN`] with the reason.
//!
//! Commands run in an empty folder that sees the repository's `examples/`. What differs from what a reader types:
//! `cargo run --release --` is the binary that cargo built for this test, a coordinator takes free ports of loopback
//! instead of 4433 and 4434, and `TOKEN` is what the coordinator printed for the identity of that name.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const README: &str = include_str!("../README.md");

/// Commands that are only shown, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo test --release --workspace", "this test is a part of it"),
    ("cargo install --path .", "it would change the home of whoever runs the tests"),
    ("eval \"$(cuda/toolkit.sh)\"", "it gets more than a gigabyte"),
    ("cargo build --release --features cuda", "it takes the toolkit of the line before, and ten minutes"),
];

/// How long a coordinator may take to listen.
const START: Duration = Duration::from_secs(30);

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    info: &'a str,
    lines: Vec<&'a str>,
}

impl Block<'_> {
    /// Its commands: lines with those that continue them, without comments.
    fn commands(&self) -> Vec<String> {
        let joined = self.lines.join("\n").replace("\\\n", " ");
        joined
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(info), None) => open = Some(Block { info, lines: Vec::new() }),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.lines.push(line);
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of the README is not closed");
    blocks
}

/// The folder in which a reader's commands run.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        std::os::unix::fs::symlink(examples, folder.path().join("examples")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command line in a shell that finds this repository's `tributary`.
    fn shell(&self, line: &str) -> Command {
        let line = line.replace("cargo run --release --", "tributary");
        let program = Path::new(env!("CARGO_BIN_EXE_tributary"));
        let folders = std::env::join_paths(
            std::iter::once(program.parent().unwrap().to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut command = Command::new("sh");
        command.args(["-e", "-c", &line]).current_dir(self.folder.path()).env("PATH", folders.unwrap());
        // What the page promises of equal models, it promises of processors of one kind.
        command.env("TRIBUTARY_DEVICE", "cpu");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end; what it printed, on either stream.
    fn run(&self, line: &str) -> String {
        printed(line, &self.shell(line).output().unwrap())
    }

    /// Runs a deployment to its end.
    fn run_together(&self, lines: &[String]) -> String {
        let (hub, others) = lines.split_first().unwrap();
        assert!(hub.contains("tributary coordinator"), "a deployment begins with its coordinator: {hub}");
        let ports = "--listen 127.0.0.1:0 --join-listen 127.0.0.1:0 --address-file address";
        // What it says is read while it runs.
        let mut started = vec![(hub, self.shell(&format!("{hub} {ports} 2>said")).spawn().unwrap())];
        listening(&self.path("address"), &mut started[0].1);
        let said = std::fs::read_to_string(self.path("said")).unwrap();
        for line in others {
            started.push((line, self.shell(&line.replace("TOKEN", token(&said, line))).spawn().unwrap()));
        }
        let ended = started.into_iter().map(|(line, child)| printed(line, &child.wait_with_output().unwrap()));
        let printed: String = ended.collect();
        std::fs::read_to_string(self.path("said")).unwrap() + &printed
    }
}

/// What a command printed; it must have succeeded.
fn printed(line: &str, output: &Output) -> String {
    let text = [&output.stderr[..], &output.stdout].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "`{line}` of the README failed ({}):\n{text}", output.status);
    text
}

/// The token that a coordinator printed for the member who runs `line`.
fn token<'a>(said: &'a str, line: &str) -> &'a str {
    let after = |text: &'a str, mark: &str| text.split(mark).nth(1)?.split_whitespace().next();
    let name = line.split("--identity ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let invited = said.lines().find(|said| said.starts_with(&format!("{name} joins with")));
    invited.and_then(|invited| after(invited, "--join ")).unwrap_or_else(|| panic!("no token for {name} in:\n{said}"))
}

/// Waits for the address that a coordinator writes once it listens.
fn listening(file: &Path, hub: &mut Child) {
    #[expect(clippy::disallowed_methods, reason = "a test waits for a real process")]
    let now = Instant::now;
    let began = now();
    loop {
        if file.exists() {
            return;
        }
        assert!(hub.try_wait().unwrap().is_none(), "the coordinator ended before it listened");
        assert!(began.elapsed() < START, "the coordinator does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A line without what differs from run to run and from machine to machine: numbers and units of time.
fn without_numbers(line: &str) -> String {
    let words = line.split_whitespace().filter(|word| !["ms", "s", "s,"].contains(word));
    let masked = words.map(|word| if word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word });
    masked.collect::<Vec<_>>().join(" ")
}

/// Every line of `shown` was printed, but for numbers; `…` stands for what is left out.
fn assert_printed(shown: &Block<'_>, printed: &str) {
    let known: BTreeSet<String> = printed.lines().map(without_numbers).collect();
    for line in shown.lines.iter().filter(|line| !line.trim().is_empty() && line.trim() != "…") {
        assert!(
            known.contains(&without_numbers(line)),
            "the README shows a line that was not printed:\n{line}\nwhat was printed:\n{printed}"
        );
    }
}

/// What the README shows of a run file stands in the run file that the README is about.
fn assert_in_example(shown: &Block<'_>) {
    let example = include_str!("../examples/penguins.toml");
    for line in &shown.lines {
        assert!(example.lines().any(|full| full.starts_with(line)), "`{line}` is not in examples/penguins.toml");
    }
}

#[test]
fn every_command_of_the_readme_does_what_the_readme_shows() {
    let desk = Desk::new();
    let mut last = String::new();
    let mut together: Vec<String> = Vec::new();
    for block in blocks(README) {
        if block.info != "sh run together" && !together.is_empty() {
            last = desk.run_together(&std::mem::take(&mut together));
        }
        match block.info {
            "sh run" => last = block.commands().iter().map(|line| desk.run(line)).collect(),
            "sh run together" => together.extend(block.commands()),
            "sh" => {
                for command in block.commands() {
                    assert!(NOT_RUN.iter().any(|(line, _)| *line == command), "`{command}` is neither run nor excused");
                }
            }
            "text" => assert_printed(&block, &last),
            "toml" => assert_in_example(&block),
            other => panic!("a block of the README has the unknown kind `{other}`"),
        }
    }
    assert!(together.is_empty(), "a deployment is followed by what it prints");
    assert!(desk.path("runs").is_dir(), "runs are kept where the README says");
}

/// The README's promise that costs most to break: the digest of the deployed model is that of the simulated one.
#[test]
fn demo_and_simulation_of_one_file_end_in_the_same_model() {
    let desk = Desk::new();
    let model = |line: &str| {
        let printed = desk.run(line);
        printed.lines().find(|line| line.starts_with("model ")).map(str::to_owned).unwrap()
    };
    for file in ["examples/digits.toml", "examples/penguins.toml"] {
        let set = "--set run.rounds=5";
        assert_eq!(model(&format!("tributary demo {file} {set}")), model(&format!("tributary sim {file} {set}")));
    }
}

#[test]
fn blocks_commands_and_numbers_are_told_apart() {
    let text = "a\n```sh run\n# why\nx --a \\\n  --b\n\ny\n```\nb\n```text\nz\n```\n";
    let found = blocks(text);
    assert_eq!(found[0].commands(), ["x --a    --b", "y"]);
    assert_eq!((found[1].info, &found[1].lines[..]), ("text", &["z"][..]));
    assert_eq!(without_numbers("bytes   16.2 MB to clients in 12 ms"), "bytes # MB to clients in #");
}
