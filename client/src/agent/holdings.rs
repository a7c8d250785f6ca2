//! What is at hand of the work of a run: the model that is trained on or measured, and what came of it.
//!
//! An update is on disk too, in the outbox, from its end to its receipt: there it outlives the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tributary_common::id::{RunId, Ticket};
use tributary_common::message::{self, Put, Results};
use tributary_common::parameters::Parameters;

use super::outbox::Outbox;
use crate::machine::Machine;

/// What a piece of work has brought so far.
pub(super) enum Holding {
    /// Its model, which is at work until this is set.
    Model(Arc<AtomicBool>),
    Results(Box<Results>),
    Update {
        header: Box<Put>,
        update: Parameters,
    },
}

pub(super) struct Holdings {
    /// The run that the work is of.
    run: Option<RunId>,
    work: BTreeMap<Ticket, Holding>,
    outbox: Option<Outbox>,
}

impl Holdings {
    pub(super) const fn new(outbox: Option<Outbox>) -> Self {
        Self { run: None, work: BTreeMap::new(), outbox }
    }

    /// The run that the work is of.
    pub(super) const fn run(&self) -> RunId {
        self.run.expect("work comes after `Welcome`")
    }

    /// Enters a run; returns whether another one is left behind. Rounds of the same numbers are not the same rounds: what is
    /// at hand of that one is nobody's here.
    pub(super) fn enter(&mut self, run: RunId) -> bool {
        let is_other = self.run.replace(run).is_some_and(|before| before != run);
        if is_other {
            self.work.values().for_each(Holding::stop);
            self.work.clear();
        }
        is_other
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Holding> {
        self.work.get(&ticket)
    }

    pub(super) fn insert(&mut self, ticket: Ticket, holding: Holding) {
        self.work.insert(ticket, holding);
    }

    /// The computation of this work is to end at the next batch.
    pub(super) fn stop(&self, ticket: Ticket) {
        self.work.get(&ticket).into_iter().for_each(Holding::stop);
    }

    /// Nothing of this work is wanted any more.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.work.remove(&ticket);
        self.discard(message::Holding { run: self.run(), ticket });
    }

    /// The finished update at hand: the machine's, or what an earlier process left on disk.
    pub(super) fn finished(&self, machine: &Machine) -> Option<message::Holding> {
        let left = || self.outbox.as_ref()?.newest().ok()?.filter(|(run, _)| self.run.is_none_or(|at| at == *run));
        let of_machine = self.run.zip(machine.holding());
        let finished = of_machine.or_else(|| if machine.phase().is_none() { left() } else { None });
        finished.map(|(run, ticket)| message::Holding { run, ticket })
    }

    /// What is on disk of a finished update is nobody's any more.
    pub(super) fn discard(&self, finished: message::Holding) {
        if let Some(outbox) = &self.outbox
            && let Err(error) = outbox.forget(finished.run, finished.ticket)
        {
            tracing::warn!(%error, "a finished update could not be removed");
        }
    }
}

impl Holding {
    fn stop(&self) {
        if let Self::Model(cancel) = self {
            cancel.store(true, Ordering::Relaxed);
        }
    }
}
