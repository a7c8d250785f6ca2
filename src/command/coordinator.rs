//! `tributary coordinator`: serves a run to clients.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::task::JoinSet;
use tributary_certs::{Credentials, RevocationFile, revocation};
use tributary_client::cli::{credentials, stop};
use tributary_common::Digest;
use tributary_common::id::RunId;
use tributary_common::identity::Role;
use tributary_coordinator::round::Reason;
use tributary_coordinator::server::{Error, Limits, Rate, Run, Server};
use tributary_coordinator::store::Durability;
use tributary_coordinator::strategy::plan_text;

use super::federation::Federation;
use super::run_folder::{self, Choice};
use super::{certs, sim};
use crate::arguments;
use crate::exit::{self, Failure};
use crate::file::RunFile;
use crate::output::{Ending, Output, Summary};

/// Handshakes of an address come at once after a restart: so many seconds' worth of them are borne.
const BURST_SECONDS: u32 = 10;

pub(super) fn run(arguments: &arguments::Coordinator, output: Output) -> Result<u8, Failure> {
    let file = RunFile::read(&arguments.run.file, &arguments.run.set)?;
    let federation = Federation::of(arguments, &file.strategy.name, output)?;
    let credentials = credentials(&federation.identity, &[Role::Coordinator])?;
    if let Err(error) = credentials.keep_endpoint_secret(&federation.identity) {
        // It follows from the key as long as that stays the same.
        output.say(&format!("after its next certificate this coordinator is a stranger to its clients: {error}"));
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(exit::RUN_FAILED, error))?;
    runtime.block_on(async {
        let server = bind(arguments, &federation, &credentials, output)?;
        serve(arguments, &file, &credentials, server, output).await
    })
}

fn failed(error: Error) -> Failure {
    match error {
        Error::Listen { .. } => Failure::new(exit::RUN_FAILED, error)
            .with_hint(Some("another process may use the port; choose one with --listen, or port 0 for any")),
        other => Failure::new(exit::RUN_FAILED, other),
    }
}

/// Takes the ports, before anything is written: a second coordinator leaves no folder behind.
fn bind(
    arguments: &arguments::Coordinator,
    federation: &Federation,
    credentials: &Credentials,
    output: Output,
) -> Result<Server, Failure> {
    // The authority's own list is the newest; without one at hand somebody copies it into the identity folder.
    let folder = federation.authority.as_ref().unwrap_or(&federation.identity);
    let revoked = RevocationFile::open(&folder.join(revocation::FILE), credentials.roots())?;
    let server = Server::bind(arguments.listen, credentials, revoked, limits(arguments)).map_err(failed)?;
    let address = server.address().map_err(failed)?;
    let Some((issuing, joining)) = federation.issuing(arguments, address)? else { return Ok(server) };
    let server = server.issuing(issuing, joining, credentials).map_err(failed)?;
    let server = server.renewing_itself(credentials.clone(), federation.identity.clone());
    if let Some(joining) = server.joining_address().map_err(failed)? {
        federation.welcome(arguments, joining, output)?;
    }
    Ok(server)
}

/// What the operator says of limits; the others are the defaults.
fn limits(arguments: &arguments::Coordinator) -> Limits {
    let a_second = arguments.handshakes_per_address;
    let handshakes_per_address = Rate { per_second: f64::from(a_second), burst: BURST_SECONDS * a_second };
    let all = Limits::default();
    // One address may do what all together may: the sum must not forbid it.
    let handshakes = Rate {
        per_second: all.handshakes.per_second.max(handshakes_per_address.per_second),
        burst: all.handshakes.burst.max(handshakes_per_address.burst),
    };
    Limits { handshakes_per_address, handshakes, ..all }
}

/// A run's id: of its configuration and the moment it began. No random choice depends on it.
fn new_id(config: Digest) -> RunId {
    let since = certs::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let digest = Digest::of(&[&config.0[..], &since.to_le_bytes()].concat());
    RunId(digest.0[..16].try_into().expect("a digest has 32 bytes"))
}

async fn serve(
    arguments: &arguments::Coordinator,
    file: &RunFile,
    credentials: &Credentials,
    server: Server,
    output: Output,
) -> Result<u8, Failure> {
    let address = server.address().map_err(failed)?;
    let choice = match (&arguments.out, arguments.resume) {
        (Some(path), true) => Choice::Resume(path),
        (Some(path), false) => Choice::NamedOrUnfinished(path),
        (None, true) => Choice::Unfinished,
        (None, false) => Choice::NewOrUnfinished,
    };
    let config = file.document.digest();
    let begun = run_folder::begin(file, &choice, Durability::Power, new_id(config))?;
    let is_resumed = !begun.past.rows.is_empty();
    output.say(&format!("{} on {address}{}", credentials.identity(), if is_resumed { ", going on" } else { "" }));
    if !arguments.tethered && !arguments.new_federation && arguments.authority.is_none() {
        let join = format!("tributary client --identity DIR --coordinator HOST:{}", address.port());
        output.say(&format!("to join: {join} --data SOURCE"));
    }
    let mut tasks = JoinSet::new();
    let stop = stop::token(arguments.tethered, &mut tasks).map_err(|error| Failure::new(exit::RUN_FAILED, error))?;
    if let Some(path) = &arguments.address_file {
        let beside = path.with_extension("new");
        std::fs::write(&beside, address.to_string())
            .and_then(|()| std::fs::rename(&beside, path))
            .map_err(|error| Failure::new(exit::RUN_FAILED, error))?;
    }
    let run = Run {
        id: begun.id,
        strategy: file.strategy.clone(),
        plan: plan_text(&file.document)?,
        config,
        model: begun.model,
        optimizer: begun.optimizer,
        past: begun.past,
        store: begun.store,
        journal: begun.journal,
    };
    let shown = Arc::new(Mutex::new((output.progress(), Summary::default())));
    let told = Arc::clone(&shown);
    let ended = server
        .serve(run, stop, move |event| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.0.event(event);
            told.1.event(event);
        })
        .await
        .map_err(failed)?;
    // Where the folder failed, that is what is to be said.
    let is_kept = !matches!(ended.reason, Reason::StoreFailed { .. });
    let folder = begun.folder.as_ref().filter(|_| is_kept);
    let next = folder.map(|folder| super::report::write(folder)).transpose()?;
    let next = next.map_or_else(Vec::new, |page| vec![("report", page.display().to_string())]);
    let summary = &shown.lock().unwrap_or_else(PoisonError::into_inner).1;
    summary.print(output, &Ending { next, ..Ending::default() });
    sim::end(&ended.reason, ended.central_accuracy, file.strategy.gate, summary.hint())
}
