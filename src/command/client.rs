//! `tributary client`: takes part in a run with this machine's data.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tributary_certs::{Credentials, tls};
use tributary_client::agent::{self, Status};
use tributary_client::crew::{Crew, Held, Load};
use tributary_client::data::{Source, TestRows};
use tributary_common::id::ClientId;
use tributary_common::identity::Role;
use tributary_common::net::Windows;

use super::{coordinator, stop};
use crate::arguments;
use crate::exit::{self, Failure};
use crate::file::RunFile;
use crate::output::{Format, Output, bytes};

pub(super) fn run(arguments: &arguments::Client, output: Output) -> Result<u8, Failure> {
    let file = arguments.run.as_ref().map(|path| RunFile::read(path, &arguments.set)).transpose()?.map(Arc::new);
    if arguments.check {
        return check(arguments, file.as_deref(), output);
    }
    let mut members = Vec::new();
    for (index, folder) in arguments.identity.iter().enumerate() {
        let credentials = coordinator::load(folder, &[Role::Client, Role::Evaluator])?;
        let load = load(arguments, file.as_ref(), index)?;
        members.push((credentials, load));
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(exit::RUN_FAILED, error))?;
    runtime.block_on(serve(arguments, members, output))
}

/// How the `index`-th member gets its examples. What is asked for is checked now, what the files hold when the plan is here.
fn load(arguments: &arguments::Client, file: Option<&Arc<RunFile>>, index: usize) -> Result<Load, Failure> {
    let usage = |text: &str| Failure::new(exit::USAGE, text);
    if let (Some(file), Some(part)) = (file, arguments.part.get(index)) {
        let (file, part) = (Arc::clone(file), part.clone());
        return Ok(Box::new(move |_| part_of(&file, &part).map_err(|failure| failure.text)));
    }
    let Some(source) = arguments.data.clone() else {
        return Err(
            usage("this client has no data").with_hint(Some("give --data SOURCE, or --run RUN.toml with --part"))
        );
    };
    Source::parse(&source)?;
    Ok(Box::new(move |plan| {
        let read = || {
            let loaded = Source::parse(&source)?.load(Path::new(""), &plan.input, None)?;
            Ok::<_, tributary_client::data::Error>(Held::all(loaded.split(TestRows::None)?.0))
        };
        read().map_err(|error| error.to_string())
    }))
}

/// One part of a run file's partition, or its test examples.
fn part_of(file: &RunFile, part: &str) -> Result<Held, Failure> {
    let dealt = file.deal()?;
    if part == "test" {
        let test = dealt.test.ok_or_else(|| Failure::new(exit::INVALID, "the run file names no test examples"))?;
        let indices = (0..u32::try_from(test.len()).expect("data sets are below 2^32")).collect();
        return Ok(Held { dataset: test, indices });
    }
    let clients = dealt.parts.clients();
    let index = part.parse::<usize>().ok().filter(|index| *index < clients).ok_or_else(|| {
        Failure::new(exit::USAGE, format!("there is no part `{part}`"))
            .with_hint(Some(format!("give a number from 0 to {}, or test", clients - 1)))
    })?;
    // Only the client's own rows stay in memory.
    let own = dealt.train.select(dealt.parts.part(index));
    Ok(Held::all(own))
}

fn check(arguments: &arguments::Client, file: Option<&RunFile>, output: Output) -> Result<u8, Failure> {
    let file = file.expect("--check requires --run");
    let shared = Arc::new(RunFile::read(arguments.run.as_ref().expect("required"), &arguments.set)?);
    let load = load(arguments, Some(&shared), 0)?;
    let role = if arguments.part.first().is_some_and(|part| part == "test") { Role::Evaluator } else { Role::Client };
    let name = ClientId::simulated(0, 1);
    let prepared = Crew::new(name, role, load)
        .check((*file.plan).clone())
        .map_err(|why| Failure::new(exit::INVALID, format!("the data do not fit the run: {why}")))?;
    let (examples, held) = (prepared.ready.examples, prepared.ready.holdout);
    match output.format {
        Format::Text => output.result(&format!("the data fit: {examples} examples to train on, {held} to measure on")),
        Format::Json | Format::JsonLines => {
            output.document(&json!({ "fits": true, "examples": examples, "held_out": held }))
        }
    }
    Ok(exit::OK)
}

async fn serve(
    arguments: &arguments::Client,
    members: Vec<(Credentials, Load)>,
    output: Output,
) -> Result<u8, Failure> {
    let mut signals = JoinSet::new();
    let stop = stop::token(arguments.tethered, &mut signals).map_err(|error| Failure::new(exit::RUN_FAILED, error))?;
    let mut agents = JoinSet::new();
    let is_alone = members.len() == 1;
    for (credentials, load) in members {
        let identity = credentials.identity().clone();
        let settings = agent::Settings {
            name: identity.name.clone(),
            coordinator: arguments.coordinator.clone().expect("required unless --check"),
            device: "cpu".to_owned(),
            give_up_after: arguments.give_up_after.map(Duration::from_secs),
            once: arguments.once,
            windows: Windows::default(),
        };
        let tls = tls::client_config(&credentials)?;
        let worker = Crew::new(identity.name.clone(), identity.role, load);
        let name = if is_alone { String::new() } else { format!("{}: ", identity.name) };
        let tell = move |status| say(output, &name, status);
        agents.spawn(agent::run(settings, tls, worker, stop.clone(), tell));
    }
    let mut code = exit::OK;
    while let Some(ended) = agents.join_next().await {
        match ended.map_err(|error| Failure::new(exit::RUN_FAILED, error))? {
            Ok(Some(_)) => {}
            Ok(None) => code = exit::INTERRUPTED,
            Err(error) => {
                stop.cancel();
                return Err(failure(error));
            }
        }
    }
    Ok(code)
}

fn failure(error: agent::Error) -> Failure {
    match error {
        agent::Error::Unreachable { .. } => Failure::new(exit::UNREACHABLE, error)
            .with_hint(Some("check the address, and that UDP gets through to its port")),
        agent::Error::NotAuthorised(_) => Failure::new(exit::NOT_AUTHORISED, error),
        agent::Error::Unfit(_) => Failure::new(exit::INVALID, error)
            .with_hint(Some("look at the data with `tributary client --check --run RUN.toml --data SOURCE`")),
        other => Failure::new(exit::RUN_FAILED, other),
    }
}

fn say(output: Output, name: &str, status: Status) {
    let text = match status {
        Status::Acknowledged { ticket, digest } => format!("{ticket}: update {} counts", digest.short()),
        Status::Dropped { ticket, reason } => format!("{ticket}: dropped: {reason}"),
        Status::Finished(done) => {
            format!("the run is over ({}), version {}, model {}", done.reason, done.version, done.model)
        }
        Status::Joined { examples } => format!("joined with {examples} examples to train on"),
        Status::Progress { .. } => return,
        Status::Retrying { reason } => format!("no connection ({reason}); trying again"),
        Status::Suspended => "the coordinator stopped for a while; coming back".to_owned(),
        Status::Unfit { reason } => format!("cannot take part: {reason}"),
        Status::Working { ticket, bytes: size } => format!("{ticket}: got the model, {}", bytes(size)),
    };
    output.say(&format!("{name}{text}"));
}

/// The executable that is running, for children of the demo.
pub(super) fn executable() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::new(exit::RUN_FAILED, format!("could not find this program: {error}")))
}
