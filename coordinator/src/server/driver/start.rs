//! The start of a driver: a new run, or one that an earlier process left.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tributary_common::event::Event as Line;
use tributary_common::id::{RunId, Version};
use tributary_common::message::Welcome;
use tributary_common::net::System;
use tributary_common::time::Time;

use super::Driver;
use crate::receipt::{self, Receipts};
use crate::record::Recorder;
use crate::round::{Effect, Event, Machine, Recorded, Roster, Row};
use crate::server::doubles::Doubles;
use crate::server::limits::Limits;
use crate::server::models::Models;
use crate::server::partials::Partials;
use crate::server::returning::Returning;
use crate::server::revocation::Revoked;
use crate::server::session::Input;
use crate::server::{Error, Run, fold, now, writer};
use crate::store::Past;

/// What a driver is given beside its run.
pub(in crate::server) struct Given {
    pub(in crate::server) models: Models,
    pub(in crate::server) partials: Arc<Partials>,
    pub(in crate::server) inputs: mpsc::Receiver<Input>,
    pub(in crate::server) revoked: Revoked,
    pub(in crate::server) limits: Limits,
    pub(in crate::server) system: System,
}

/// What gives the receipts of `run`, under its key where it has a folder; and what to tell if that is not the key of before.
fn receipts(run: RunId, folder: Option<PathBuf>, rows: &[Recorded]) -> Result<(Receipts, Option<String>), Error> {
    let fresh = tributary_certs::random_key()?;
    let Some(path) = folder else { return Ok((Receipts::new(run, fresh), None)) };
    let is_lost = !path.join(receipt::FILE).exists()
        && rows.iter().any(|recorded| matches!(recorded.row, Row::UpdateAccepted { .. }));
    let lost = format!("`{}` is gone from the run's folder: earlier receipts prove nothing any more", receipt::FILE);
    let receipts = Receipts::kept_in(&path, run, fresh).map_err(|source| crate::store::Error::Io { path, source })?;
    Ok((receipts, is_lost.then_some(lost)))
}

/// The machine of a run, new or as an earlier process left it.
fn machine(run: &Run, rows: &[Recorded], at: Time, effects: &mut Vec<Effect>) -> Machine {
    let settings = run.strategy.rounds.clone();
    if rows.is_empty() {
        let row = Row::RunCreated { run: run.id, config: run.config, model: run.model.digest() };
        Machine::new(settings, Roster::empty(), row, effects)
    } else {
        Machine::resume(settings, Roster::empty(), rows, at, effects)
    }
}

impl Driver {
    /// A driver with what its machine wants done first.
    pub(in crate::server) fn start(
        mut run: Run,
        given: Given,
        tell: impl FnMut(&Line) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let Given { models, partials, inputs, revoked, limits, system } = given;
        let Past { rows, at, updates, told, older } = std::mem::take(&mut run.past);
        // The initial model is a version like any other: a restart reads it, and a rollback may go back to it.
        let retained = match rows.is_empty() {
            true => Some(run.store.keep(Version(0), &run.model, &run.optimizer.state())?),
            false => None,
        };
        let mut effects = Vec::new();
        let mut machine = machine(&run, &rows, at, &mut effects);
        let internal = |error: std::io::Error| Error::Internal(error.to_string());
        let aggregator = run.strategy.aggregator.clone();
        let fold = fold::start(run.model.clone(), run.optimizer, aggregator, Arc::clone(&run.store), &system)
            .map_err(internal)?;
        let journal =
            run.journal.take().map(|journal| writer::start(journal, &system)).transpose().map_err(internal)?;
        let version = machine.version();
        let served = older.iter().map(|(older, _)| *older).chain([version]).collect();
        machine.tell_again(at, &rows, &told.iter().map(|line| line.version).collect(), &served, &mut effects);
        let mut recorder = Recorder::new(&run.strategy);
        told.into_iter().for_each(|line| recorder.recall(line));
        let clients = run.strategy.rounds.wait_for;
        let first = recorder.run(run.id, &run.strategy, run.config, run.model.digest(), clients, "coordinator");
        let welcome = Welcome { run: run.id, plan: run.plan, version, done: None, return_ms: 0 };
        let open = machine.open_ticket();
        let (receipts, lost) = receipts(run.id, run.store.folder(), &rows)?;
        let mut driver = Self {
            machine,
            recorder,
            store: run.store,
            models,
            partials,
            open,
            postponed: None,
            model: run.model,
            receipts,
            welcome,
            strategy: run.strategy,
            limits,
            inputs,
            revoked,
            fold,
            journal,
            members: BTreeMap::new(),
            doubles: Doubles::new(limits.connections),
            returning: Returning::new(),
            unfit: BTreeMap::new(),
            staged: updates.into_iter().map(|kept| ((kept.ticket, kept.client.clone()), kept.into())).collect(),
            retained,
            effects,
            events: VecDeque::new(),
            tell: Box::new(tell),
            began: now(),
            began_at: at,
            clock_kept: at,
            ended: None,
        };
        driver.models.add(version, driver.model.digest(), driver.model.clone());
        if let Some((version, model)) = older {
            driver.models.add(version, model.digest(), model);
        }
        driver.publish(&first)?;
        lost.into_iter().try_for_each(|text| driver.publish(&Recorder::notice(None, text)))?;
        if driver.recorder.has_reached_target(version) {
            driver.events.push_back(Event::TargetReached);
        }
        if !rows.is_empty() {
            driver.events.push_back(Event::Wake);
        }
        driver.partials.keep_only(driver.open);
        Ok(driver)
    }
}
