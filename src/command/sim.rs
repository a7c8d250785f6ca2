//! `tributary sim`: a run with simulated clients.

use std::sync::Arc;
use std::time::Instant;

use tributary_client::cli::stop;
use tributary_client::trainer::{Local, Trainer};
use tributary_common::id::RunId;
use tributary_coordinator::round::Reason;
use tributary_coordinator::store::Durability;
use tributary_simulation::{Run, simulate};

use super::run_folder::{self, Choice};
use crate::arguments;
use crate::exit::{self, Failure};
use crate::file::RunFile;
use crate::output::{Ending, Format, Output, Summary};

/// Clients that a CUDA device trains at once where nothing else is said. A step of a small model is some eighty orders to
/// the device, each of a few microseconds whoever it is for. Chosen by that count; not measured, because no GPU was at hand.
const STACK: usize = 32;

#[expect(clippy::disallowed_methods, reason = "the command is a driver: it shows people how long things took")]
pub(super) fn now() -> Instant {
    Instant::now()
}

pub(super) fn run(arguments: &arguments::Sim, output: Output) -> Result<u8, Failure> {
    let began = now();
    let file = RunFile::read(&arguments.run.file, &arguments.run.set)?;
    let device = super::device::open(arguments.device, output)?;
    let dealt = file.deal_to_train()?;
    if output.format == Format::Text {
        output.say(&super::check::skew(&dealt));
    }
    let config = file.document.digest();
    // The same file gives the same id: a simulated run is its configuration.
    let id = RunId(config.0[..16].try_into().expect("a digest has 32 bytes"));
    let choice = match (&arguments.out, arguments.resume) {
        _ if arguments.no_out => Choice::Nowhere,
        (Some(path), true) => Choice::Resume(path),
        (Some(path), false) => Choice::Named(path),
        (None, _) => Choice::New,
    };
    let begun = run_folder::begin(&file, &choice, Durability::Process, id)?;
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = arguments.workers.map_or_else(|| cores().min(arguments::WORKERS_MAX.into()), usize::from);
    let clients = arguments.stack.map_or(if device.is_cpu() { 1 } else { STACK }, usize::from);
    let trainer = || Box::new(Local::stacked(&device, Arc::clone(&file.plan), clients)) as Box<dyn Trainer>;
    let trainers = (0..workers).map(|_| trainer()).collect();
    let run = Run {
        id: begun.id,
        strategy: file.strategy.clone(),
        plan: Arc::clone(&file.plan),
        settings: file.sim,
        population: dealt.into(),
        config,
        model: begun.model,
        optimizer: begun.optimizer,
        past: begun.past,
        store: begun.store,
        journal: begun.journal,
    };
    let flag = stop::flag().map_err(|error| Failure::new(exit::RUN_FAILED, error))?;
    let (mut progress, mut summary) = (output.progress(), Summary::default());
    let ended = simulate(run, trainers, &flag, &|| began.elapsed(), &mut |event| {
        progress.event(event);
        summary.event(event);
    })
    .map_err(|error| Failure::new(exit::RUN_FAILED, error))?;
    let next = begun.folder.as_ref().map(|folder| super::report::write(folder)).transpose()?;
    let next = next.map_or_else(Vec::new, |page| vec![("report", page.display().to_string())]);
    summary.print(output, &Ending { next, is_lost: begun.folder.is_none(), ..Ending::default() });
    end(&ended.reason, ended.central_accuracy, file.strategy.gate, summary.hint())
}

/// The exit code of a run's end. `hint` is what the clients were told to do, where all were told the same.
pub(super) fn end(
    reason: &Reason,
    accuracy: Option<f64>,
    gate: Option<f64>,
    hint: Option<&str>,
) -> Result<u8, Failure> {
    match reason {
        Reason::Rounds | Reason::Target => match (gate, accuracy) {
            (Some(gate), accuracy) if accuracy.is_none_or(|accuracy| accuracy < gate) => {
                let found =
                    accuracy.map_or_else(|| "was not measured".to_owned(), |accuracy| format!("is {accuracy:.4}"));
                Err(Failure::new(
                    exit::GATE_NOT_MET,
                    format!("the central accuracy {found}, evaluate.gate asks for {gate}"),
                ))
            }
            _ => Ok(exit::OK),
        },
        Reason::Suspended => Ok(exit::INTERRUPTED),
        Reason::QuorumMissed { missing } => {
            Err(Failure::new(exit::RUN_FAILED, format!("the run ended without a quorum: {missing}"))
                .with_hint(Some(hint.unwrap_or("lower cohort.quorum, raise cohort.deadline, or see why clients decline"))))
        }
        Reason::Postponed { .. } | Reason::StoreFailed { .. } => Err(Failure::new(exit::RUN_FAILED, reason).with_hint(Some(
            "see that the disk has space and the run's folder is whole and may be written, then start the same again, with \
             --resume where --out was given: the run goes on where it stopped, and clients keep their work for it",
        ))),
    }
}
