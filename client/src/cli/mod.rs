//! `tributary client`, shared by the one command and the lean binary: arguments, and what they start.

pub mod stop;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use tokio::task::JoinSet;
use tributary_certs::enrolment::Token;
use tributary_certs::{Credentials, tls};
use tributary_common::config::Document;
use tributary_common::id::ClientId;
use tributary_common::identity::{Identity, Role};
use tributary_common::net::{IDLE_TIMEOUT, KEEP_ALIVE, Windows};

use crate::agent::{self, Membership, Outbox, Status};
use crate::crew::{Crew, Held, Load};
use crate::data::{Source, TestRows};
use crate::device::{self, Device};
use crate::plan::Plan;
use crate::supply::Supply;

/// All went well.
pub const OK: u8 = 0;
/// The run failed.
pub const RUN_FAILED: u8 = 1;
/// The arguments are wrong.
pub const USAGE: u8 = 2;
/// The run file, the data or a file of a run is wrong.
pub const INVALID: u8 = 3;
/// The coordinator cannot be reached.
pub const UNREACHABLE: u8 = 4;
/// The other side does not let this identity in.
pub const NOT_AUTHORISED: u8 = 5;
/// Stopped by a signal, after a clean end.
pub const INTERRUPTED: u8 = 130;

/// The identity folder of a client that joins and was given none.
const JOINED: &str = "identity";

/// What a client can be told.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Identity folder with the role client or evaluator; more than one for several clients in one process
    #[arg(long, required_unless_present_any = ["check", "join"])]
    pub identity: Vec<PathBuf>,
    /// The coordinator's address; not needed by an identity that has joined
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub coordinator: Option<String>,
    /// Join a federation with a token (`tributary certs invite`), into the identity folder or ./identity; once joined, the
    /// token does nothing
    #[arg(long, value_name = "TOKEN", conflicts_with = "check")]
    pub join: Option<String>,
    /// This machine's data: digits, idx:DIR, csv:FILE or synthetic:EXAMPLES
    #[arg(long, value_name = "SOURCE")]
    pub data: Option<String>,
    /// A run file, whose partition --part is taken of
    #[arg(long, value_name = "RUN.toml")]
    pub run: Option<PathBuf>,
    /// Set a value over that file
    #[arg(long, value_name = "SECTION.KEY=VALUE", requires = "run")]
    pub set: Vec<String>,
    /// A part of that run file's partition: a number from 0, or test; one for each identity
    #[arg(long, requires = "run")]
    pub part: Vec<String>,
    /// Only say whether the data fit the run file
    #[arg(long, requires = "run")]
    pub check: bool,
    /// What trains: auto, cpu or cuda:N; auto is the first CUDA device, or the CPU where there is none. By default what the
    /// environment's TRIBUTARY_DEVICE says, or auto
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<device::Choice>,
    /// Folder for finished updates until they are acknowledged, and for the last models; by default updates alone are
    /// kept, in outbox/ in the identity folder
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// End when the run is over instead of waiting for the next
    #[arg(long)]
    pub once: bool,
    /// End after so many seconds without a connection
    #[arg(long, value_name = "SECONDS")]
    pub give_up_after: Option<u64>,
    /// Probe the connection after so many seconds of silence, 0.1 to 60; by default 20
    #[arg(long, value_name = "SECONDS", value_parser = keep_alive)]
    pub keep_alive: Option<Duration>,
    /// End when standard input closes
    #[arg(long, hide = true)]
    pub tethered: bool,
}

/// A keep-alive interval: short enough for the idle timeout, long enough not to be traffic of its own.
fn keep_alive(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "not a number of seconds from 0.1 to 60".to_owned())
}

/// `HOST:PORT` as it was typed; an IPv6 address stands in brackets. Whether there is such a host is not asked.
///
/// # Errors
/// The host or the port is missing, or the port is not from 1 to 65535.
pub fn address(text: &str) -> Result<String, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && !port.ends_with(']') => (host, port),
        _ => return Err(format!("`{text}` has no port: give HOST:PORT")),
    };
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(format!("`{text}` has no port: give HOST:PORT, an IPv6 address in brackets"));
    }
    if host.is_empty() {
        return Err(format!("`{text}` has no host: give HOST:PORT"));
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(text.to_owned()),
        _ => Err(format!("`{port}` is no port: give one from 1 to 65535")),
    }
}

/// The variable that names the device where `--device` does not.
const DEVICE: &str = "TRIBUTARY_DEVICE";

/// The device that is asked for: as typed, or else by the environment's `TRIBUTARY_DEVICE` unless that is empty, or else
/// `auto`.
///
/// # Errors
/// The variable names no device.
pub fn device(typed: Option<device::Choice>) -> Result<device::Choice, Failure> {
    if let Some(typed) = typed {
        return Ok(typed);
    }
    #[expect(clippy::disallowed_methods, reason = "read here alone, for every command")]
    match std::env::var(DEVICE) {
        Ok(name) if !name.is_empty() => name
            .parse()
            .map_err(|error: device::Error| Failure::new(USAGE, format!("{DEVICE}: {error}")).with_hint(error.hint())),
        _ => Ok(device::Choice::Auto),
    }
}

/// Why a command failed: the exit code, what was tried and found, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What was tried and found.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    #[must_use]
    pub fn new(code: u8, text: impl std::fmt::Display) -> Self {
        Self { code, text: text.to_string(), hint: None }
    }

    /// The same failure with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }
}

/// Errors that know what to do about themselves, by the exit code that they lead to.
macro_rules! failures {
    ($($error:ty = $code:ident),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let hint = error.hint().map(|hint| hint.to_string());
                Self::new($code, error).with_hint(hint)
            }
        }
    )*};
}

failures!(
    tributary_common::config::Error = INVALID,
    crate::supply::Error = INVALID,
    crate::data::Error = INVALID,
    crate::trainer::Error = INVALID,
    device::Error = USAGE,
    tributary_certs::Error = NOT_AUTHORISED,
);

/// What `--check` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Examples to train on.
    pub examples: u64,
    /// Examples to measure on.
    pub held_out: u64,
}

/// The run file, as far as a client cares.
struct RunFile {
    plan: Plan,
    supply: Supply,
}

impl RunFile {
    fn read(path: &Path, set: &[String]) -> Result<Self, Failure> {
        let document = document(path, set)?;
        let base = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let supply = Supply::parse(document.table().section("data")?, base)?;
        Ok(Self { plan: Plan::parse(&document)?, supply })
    }
}

/// Reads a run file with `set` over it.
///
/// # Errors
/// It cannot be read, or is no run file.
pub fn document(path: &Path, set: &[String]) -> Result<Document, Failure> {
    let shown = path.display().to_string();
    let failed = |error: std::io::Error| {
        Failure::new(INVALID, format!("could not read run file `{shown}`: {error}"))
            .with_hint(Some("give the path of a TOML file; examples/ holds some"))
    };
    let max = tributary_common::config::RUN_FILE_BYTES_MAX as u64;
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > max {
        return Err(Failure::new(INVALID, format!("run file `{shown}` has {size} bytes, {max} are allowed")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let mut document = Document::parse(&shown, &text)?;
    set.iter().try_for_each(|assignment| document.set(assignment))?;
    Ok(document)
}

#[expect(clippy::disallowed_methods, reason = "certificates are compared with the machine's clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Reads an identity folder that must have one of `roles` and be valid now.
///
/// # Errors
/// Files are missing or broken, or the identity is not valid here.
pub fn credentials(folder: &Path, roles: &[Role]) -> Result<Credentials, Failure> {
    let credentials = Credentials::load(folder)?;
    let role = credentials.identity().role;
    if !roles.contains(&role) {
        let wanted: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        let hint = format!("issue one with `tributary certs issue … --role {}`", wanted[0]);
        let text = format!("the identity in `{}` has the role {role}, not {}", folder.display(), wanted.join(" or "));
        return Err(Failure::new(NOT_AUTHORISED, text).with_hint(Some(hint)));
    }
    credentials.check(now())?;
    Ok(credentials)
}

/// Says whether the data fit the run file, without joining a run.
///
/// # Errors
/// They do not, or something cannot be read.
pub fn check(arguments: &Arguments) -> Result<Fit, Failure> {
    let Some(path) = &arguments.run else { return Err(Failure::new(USAGE, "--check needs --run RUN.toml")) };
    let file = Arc::new(RunFile::read(path, &arguments.set)?);
    let role = if arguments.part.first().is_some_and(|part| part == "test") { Role::Evaluator } else { Role::Client };
    let (load, device) = (load(arguments, Some(&file), 0)?, device(arguments.device)?.open()?);
    let prepared = Crew::on(device, ClientId::simulated(0, 1), role, load)
        .check(file.plan.clone())
        .map_err(|why| Failure::new(INVALID, format!("the data do not fit the run: {why}")))?;
    Ok(Fit { examples: prepared.ready.examples, held_out: prepared.ready.holdout })
}

/// Takes part in runs until told to stop; the number is the exit code. `say` gets what is worth a line.
///
/// # Errors
/// Why a client ended without being asked to.
pub fn run(arguments: &Arguments, say: impl Fn(&str) + Clone + Send + 'static) -> Result<u8, Failure> {
    let file = arguments.run.as_ref().map(|path| RunFile::read(path, &arguments.set)).transpose()?.map(Arc::new);
    let loads = (0..arguments.identity.len().max(1)).map(|index| load(arguments, file.as_ref(), index));
    let loads = loads.collect::<Result<Vec<_>, _>>()?;
    let device = device(arguments.device)?.open()?;
    if let Some(reason) = device.passed_over() {
        say(&format!("training on the CPU: {reason}"));
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(RUN_FAILED, error))?;
    let folders = match &arguments.join {
        Some(token) => vec![runtime.block_on(join(arguments, token, &say))?],
        None => arguments.identity.clone(),
    };
    let mut members = Vec::new();
    for (folder, load) in folders.into_iter().zip(loads) {
        members.push((Member::of(arguments, folder)?, load));
    }
    runtime.block_on(serve(arguments, &device, members, say))
}

/// Becomes a member; the identity folder.
async fn join(arguments: &Arguments, token: &str, say: &impl Fn(&str)) -> Result<PathBuf, Failure> {
    let token: Token = token.parse().map_err(|error| {
        Failure::new(USAGE, error).with_hint(Some("copy the whole line that `tributary certs invite` printed"))
    })?;
    let folder = match &arguments.identity[..] {
        [] => PathBuf::from(JOINED),
        [folder] => folder.clone(),
        _ => return Err(Failure::new(USAGE, "--join takes one identity folder, a token is for one member")),
    };
    let credentials = crate::join::member(&token, &folder).await.map_err(|error| {
        let (code, hint) = match &error {
            crate::join::Error::Busy { .. } | crate::join::Error::Unreachable { .. } => (UNREACHABLE, error.hint()),
            crate::join::Error::Folder { .. } => (INVALID, error.hint()),
            _ => (NOT_AUTHORISED, error.hint()),
        };
        Failure::new(code, error).with_hint(hint)
    })?;
    say(&format!("{} in {}", credentials.identity(), folder.display()));
    Ok(folder)
}

/// One of the clients in this process.
struct Member {
    name: ClientId,
    role: Role,
    membership: Membership,
    coordinator: String,
    outbox: Outbox,
    models: Option<PathBuf>,
}

impl Member {
    fn of(arguments: &Arguments, folder: PathBuf) -> Result<Self, Failure> {
        let credentials = credentials(&folder, &[Role::Client, Role::Evaluator])?;
        let Identity { name, role, .. } = credentials.identity().clone();
        let outbox = outbox(arguments, &folder, &name)?;
        let coordinator = arguments.coordinator.clone().or_else(|| crate::join::coordinator_of(&folder));
        let coordinator = coordinator.ok_or_else(|| {
            Failure::new(USAGE, format!("it is not known where the coordinator of `{}` is", folder.display()))
                .with_hint(Some("give --coordinator HOST:PORT"))
        })?;
        let membership = match crate::join::has_joined(&folder) {
            true => Membership::renewing(credentials, folder),
            false => Membership::fixed(credentials),
        };
        let models = arguments.state.as_ref().map(|state| state.join(name.as_str()).join("models"));
        Ok(Self { name, role, membership, coordinator, outbox, models })
    }
}

/// Where a member keeps finished updates.
fn outbox(arguments: &Arguments, identity: &Path, name: &ClientId) -> Result<Outbox, Failure> {
    let folder = match &arguments.state {
        Some(state) => state.join(name.as_str()),
        None => identity.join("outbox"),
    };
    Outbox::open(&folder).map_err(|error| {
        let text = format!("could not keep finished updates in `{}`: {error}", folder.display());
        Failure::new(INVALID, text).with_hint(Some("name a folder that may be written with --state"))
    })
}

/// How the `index`-th member gets its examples. What is asked for is checked now, what the files hold when the plan is here.
fn load(arguments: &Arguments, file: Option<&Arc<RunFile>>, index: usize) -> Result<Load, Failure> {
    let usage = |text: &str| Failure::new(USAGE, text);
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
            Ok::<_, crate::data::Error>(Held::all(loaded.split(TestRows::None)?.0))
        };
        read().map_err(|error| {
            let hint = error.hint().map_or_else(String::new, |hint| format!(" (hint: {hint})"));
            format!("{error}{hint}")
        })
    }))
}

/// One part of a run file's partition, or its test examples.
fn part_of(file: &RunFile, part: &str) -> Result<Held, Failure> {
    let dealt = file.supply.load(&file.plan.input, file.plan.seed)?;
    if part == "test" {
        let test = dealt.test.ok_or_else(|| Failure::new(INVALID, "the run file names no test examples"))?;
        let indices = (0..u32::try_from(test.len()).expect("data sets are below 2^32")).collect();
        return Ok(Held { dataset: test, indices });
    }
    let clients = dealt.parts.clients();
    let index = part.parse::<usize>().ok().filter(|index| *index < clients).ok_or_else(|| {
        Failure::new(USAGE, format!("there is no part `{part}`"))
            .with_hint(Some(format!("give a number from 0 to {}, or test", clients - 1)))
    })?;
    // Only the client's own rows stay in memory.
    let own = dealt.train.select(dealt.parts.part(index));
    Ok(Held::all(own))
}

async fn serve(
    arguments: &Arguments,
    device: &Device,
    members: Vec<(Member, Load)>,
    say: impl Fn(&str) + Clone + Send + 'static,
) -> Result<u8, Failure> {
    let mut signals = JoinSet::new();
    let stop = stop::token(arguments.tethered, &mut signals).map_err(|error| Failure::new(RUN_FAILED, error))?;
    let mut agents = JoinSet::new();
    let is_alone = members.len() == 1;
    for (Member { name, role, membership, coordinator, outbox, models }, load) in members {
        let settings = agent::Settings {
            name: name.clone(),
            coordinator,
            device: device.name().to_owned(),
            give_up_after: arguments.give_up_after.map(Duration::from_secs),
            once: arguments.once,
            outbox: Some(outbox),
            windows: Windows::default(),
            keep_alive: arguments.keep_alive.unwrap_or(KEEP_ALIVE),
            idle: IDLE_TIMEOUT,
            permit_seconds: agent::PERMIT_SECONDS,
            models,
        };
        let worker = Crew::on(device.clone(), name.clone(), role, load);
        let name = if is_alone { String::new() } else { format!("{name}: ") };
        let say = say.clone();
        let tell = move |status| {
            if let Some(text) = describe(status) {
                say(&format!("{name}{text}"));
            }
        };
        agents.spawn(agent::run(settings, membership, worker, stop.clone(), tell));
    }
    let mut code = OK;
    while let Some(ended) = agents.join_next().await {
        match ended.map_err(|error| Failure::new(RUN_FAILED, error))? {
            Ok(Some(_)) => {}
            Ok(None) => code = INTERRUPTED,
            Err(error) => {
                stop.cancel();
                return Err(failure(error));
            }
        }
    }
    Ok(code)
}

/// What ended an agent, with its exit code and what to do.
#[must_use]
pub fn failure(error: agent::Error) -> Failure {
    match error {
        agent::Error::Broken { .. } => {
            Failure::new(UNREACHABLE, error).with_hint(Some("try again while no client of this identity runs"))
        }
        agent::Error::Unreachable { .. } => {
            Failure::new(UNREACHABLE, error).with_hint(Some("check the address, and that UDP gets through to its port"))
        }
        agent::Error::NotAuthorised(ref reason) => {
            // A refused handshake says what to do; a connection that was closed had one, until its certificate was revoked.
            let hint = (!reason.contains("hint: ")).then_some(tls::AGAIN);
            Failure::new(NOT_AUTHORISED, error).with_hint(hint)
        }
        agent::Error::Unfit(_) => Failure::new(INVALID, error)
            .with_hint(Some("look at the data with `tributary client --check --run RUN.toml --data SOURCE`")),
        other => Failure::new(RUN_FAILED, other),
    }
}

/// One line about what happened, if it is worth one.
fn describe(status: Status) -> Option<String> {
    Some(match status {
        Status::Acknowledged { ticket, digest, receipt } => {
            format!("{ticket}: update {} counts, receipt {receipt}", digest.short())
        }
        Status::Dropped { ticket, reason } => format!("{ticket}: dropped: {reason}"),
        Status::Refused { ticket, reason } => format!("{ticket}: refused: {reason}"),
        Status::Resent { ticket } => format!("{ticket}: giving the finished update again"),
        Status::Finished(done) => {
            format!("the run is over ({}), version {}, model {}", done.reason, done.version, done.model)
        }
        Status::Joined { examples } => format!("joined with {examples} examples to train on"),
        Status::NotRenewed { reason } => format!("the certificate was not renewed ({reason}); trying again"),
        Status::Postponed { ticket, reason, wait } => {
            format!("{ticket}: postponed for {:.0} s ({reason})", wait.as_secs_f64())
        }
        Status::Progress { .. } => return None,
        Status::Renewed { .. } => "the certificate was renewed".to_owned(),
        Status::Retrying { reason, .. } => format!("no connection ({reason}); trying again"),
        Status::Suspended => "the coordinator stopped for a while; coming back".to_owned(),
        Status::Unfit { reason } => format!("cannot take part: {reason}"),
        Status::Working { ticket, bytes: size } => format!("{ticket}: got the model of {size} bytes"),
    })
}
