//! `tributary demo`: a coordinator, clients and an evaluator as real processes on loopback, with fresh certificates.

mod alone;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tributary_certs::Authority;
use tributary_client::cli::stop;
use tributary_common::event::{Done, Event};
use tributary_common::id::ClientId;
use tributary_common::identity::Role;
use tributary_common::parameters::{Parameters, safetensors};

use super::certs;
use super::children::Children;
use crate::arguments;
use crate::exit::{self, Failure, RUN_FAILED};
use crate::file::RunFile;
use crate::output::{Ending, Output, Summary, percent, table};

/// The run file of a demo without one.
const DIGITS: &str = include_str!("../../examples/digits.toml");

/// Client processes at most; more clients share them.
const PROCESSES: usize = 10;

/// The demo's certificates are valid for a day.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// How long the coordinator may take to listen.
const START: Duration = Duration::from_secs(20);

pub(super) fn run(arguments: &arguments::Demo, output: Output) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::new(RUN_FAILED, error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let path = match &arguments.file {
        Some(path) => path.clone(),
        None => {
            let path = folder.path().join("digits.toml");
            std::fs::write(&path, DIGITS).map_err(failed)?;
            path
        }
    };
    let file = RunFile::read(&path, &arguments.set)?;
    let device = super::device::open(arguments.device, output)?;
    let dealt = file.deal_to_train()?;
    let clients = dealt.parts.clients();
    let demo = Demo { folder: folder.path(), path: &path, arguments, clients, has_test: dealt.test.is_some() };
    output.say(&format!(
        "{} clients, 1 coordinator and {} on this machine, fresh certificates",
        clients,
        if demo.has_test { "1 evaluator" } else { "no evaluator" }
    ));
    output.say(&super::check::skew(&dealt));
    demo.issue()?;
    let flag = stop::flag().map_err(failed)?;
    let mut children = Children::default();
    let (mut progress, mut summary) = (output.progress(), Summary::default());
    let outcome = demo.play(&mut children, &flag, &mut |event| {
        progress.event(event);
        summary.event(event);
    });
    children.end();
    outcome?;
    if flag.load(Ordering::Relaxed) {
        return Ok(exit::INTERRUPTED);
    }
    let done = summary.done.clone().ok_or_else(|| Failure::new(RUN_FAILED, "the coordinator ended without a word"))?;
    let compared = match demo.model(&done)? {
        Some(model) => alone::compare(&file, &device, &dealt, &model, summary.rounds.len() as u64)?,
        None => None,
    };
    let more = compared.as_ref().map_or(serde_json::Value::Null, |compared| json!(compared));
    let (table, next) = (compared.as_ref().map(compared_table), next_steps(&demo, &done));
    let ending = Ending { more, table, next, is_lost: false };
    summary.print(output, &ending);
    let accuracy = summary.rounds.last().and_then(|line| line.central.as_ref()?.accuracy);
    let reason = match done.reason.as_str() {
        "rounds" => tributary_coordinator::round::Reason::Rounds,
        "stop_at" => tributary_coordinator::round::Reason::Target,
        "suspended" => tributary_coordinator::round::Reason::Suspended,
        "failed" => {
            let reason = "the coordinator could not keep the run".to_owned();
            tributary_coordinator::round::Reason::StoreFailed { reason }
        }
        "postponed" => {
            let missing = "the coordinator could not take them".to_owned();
            tributary_coordinator::round::Reason::Postponed { missing }
        }
        other => {
            let missing = format!("the coordinator ended: {other}");
            tributary_coordinator::round::Reason::QuorumMissed { missing }
        }
    };
    super::sim::end(&reason, accuracy, file.strategy.gate, summary.hint())
}

fn compared_table(compared: &alone::Compared) -> String {
    let row = |what: &str, global: f64, local: f64| {
        vec![what.to_owned(), percent(global), percent(local), format!("{:+.1} points", (global - local) * 100.0)]
    };
    let rows = [
        row("the evaluator's examples", compared.global, compared.alone),
        row("… of each client's own classes", compared.global_own, compared.alone_own),
    ];
    let header = ["accuracy on", "together", "each client\nalone (mean)", "gain"];
    format!("{}\nalone: same initial weights, same total of local steps, nothing shared", table(&header, rows))
}

/// Where to look, and the simulation that commits the same models.
fn next_steps(demo: &Demo<'_>, done: &Done) -> Vec<(&'static str, String)> {
    let Some(folder) = done.path.as_ref().and_then(|path| Path::new(path).parent()) else { return Vec::new() };
    // The run file without one is gone with the demo; the run's folder keeps a copy.
    let file = demo.arguments.file.clone().unwrap_or_else(|| folder.join("run.toml"));
    let words = [arguments::program(), "sim".to_owned(), arguments::quoted(&file.display().to_string())];
    let sets = demo.sets().into_iter().map(|word| arguments::quoted(&word));
    let command: Vec<_> = words.into_iter().chain(sets).collect();
    vec![
        ("report", folder.join("report.html").display().to_string()),
        ("simulate", command.join(" ")),
        ("", "commits the same models, bit for bit".to_owned()),
    ]
}

/// What a demo needs to know of itself.
struct Demo<'a> {
    folder: &'a Path,
    path: &'a Path,
    arguments: &'a arguments::Demo,
    clients: usize,
    has_test: bool,
}

impl Demo<'_> {
    fn identity(&self, name: &str) -> PathBuf {
        self.folder.join("identities").join(name)
    }

    fn issue(&self) -> Result<(), Failure> {
        let failed = |error: tributary_certs::Error| Failure::new(RUN_FAILED, error);
        let authority = Authority::create(&self.folder.join("authority"), "demo", certs::now()).map_err(failed)?;
        let issue = |role, name: &str| certs::issue(&authority, role, name, VALIDITY, &self.identity(name)).map(drop);
        issue(Role::Coordinator, "coordinator")?;
        issue(Role::Evaluator, "evaluator")?;
        (0..self.clients).try_for_each(|index| issue(Role::Client, ClientId::simulated(index, self.clients).as_str()))
    }

    /// Starts everybody and follows the coordinator's events to the end.
    fn play(
        &self,
        children: &mut Children,
        stop: &std::sync::atomic::AtomicBool,
        tell: &mut dyn FnMut(&Event),
    ) -> Result<(), Failure> {
        let address_file = self.folder.join("address");
        let mut coordinator = children.coordinator(self.path, &self.identity("coordinator"), &address_file)?;
        coordinator.arg("--json-lines").args(self.sets());
        if let Some(out) = &self.arguments.out {
            coordinator.arg("--out").arg(out);
        }
        let events = children.start_with_output(coordinator)?;
        let Some(address) = children.address(&address_file, START, || stop.load(Ordering::Relaxed))? else {
            return Ok(());
        };
        if self.has_test {
            self.client(children, &address, &[("evaluator".to_owned(), "test".to_owned())])?;
        }
        let per_process = self.clients.div_ceil(PROCESSES);
        let members: Vec<_> = (0..self.clients)
            .map(|index| (ClientId::simulated(index, self.clients).to_string(), index.to_string()))
            .collect();
        for group in members.chunks(per_process) {
            self.client(children, &address, group)?;
        }
        for line in BufReader::new(events).lines() {
            let Ok(line) = line else { break };
            if let Ok(event) = serde_json::from_str(&line) {
                tell(&event);
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if stop.load(Ordering::Relaxed) { Ok(()) } else { children.coordinator_ended() }
    }

    fn client(&self, children: &mut Children, address: &str, members: &[(String, String)]) -> Result<(), Failure> {
        let mut command = children.command("client")?;
        command.args(["--once", "--give-up-after", "60", "--coordinator", address]);
        command.arg("--run").arg(self.path).args(self.sets());
        if let Some(device) = self.arguments.device.device {
            command.arg("--device").arg(device.to_string());
        }
        for (name, part) in members {
            command.arg("--identity").arg(self.identity(name)).arg("--part").arg(part);
        }
        children.start(command)
    }

    fn sets(&self) -> Vec<String> {
        self.arguments.set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]).collect()
    }

    /// The last version; none of a run that ended before its first commit.
    fn model(&self, done: &Done) -> Result<Option<Parameters>, Failure> {
        let read = |path| safetensors::read(Path::new(path)).map_err(|error| Failure::new(RUN_FAILED, error));
        done.path.as_ref().map(read).transpose()
    }
}
