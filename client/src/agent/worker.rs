//! The training thread: training blocks, so it has a thread and an inbox of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tributary_common::id::{Round, RunId, Ticket};
use tributary_common::message::{Offer, Put, Ready, Results};
use tributary_common::net::System;
use tributary_common::parameters::{Layout, Parameters};

use super::outbox::{Outbox, Restored};

/// Orders that may wait for the thread: one at work, one behind it, one to prepare.
const INBOX: usize = 4;

/// The one who has the data and trains. Called on one thread only, one call at a time.
pub trait Worker: Send + 'static {
    /// Reads the plan (the run file's canonical text), loads the data and checks that they fit.
    ///
    /// # Errors
    /// Why they do not fit, as a sentence for the coordinator's operator. It must hold no data.
    fn prepare(&mut self, plan: &str) -> Result<Prepared, String>;

    /// Trains from `model` and returns what changed.
    ///
    /// # Errors
    /// Why no update comes.
    fn train(&mut self, round: Round, model: &Parameters, watch: &mut dyn Watch) -> Result<Update, String>;

    /// Measures `model`.
    ///
    /// # Errors
    /// Why no result comes.
    fn evaluate(&mut self, model: &Parameters, watch: &mut dyn Watch) -> Result<Results, String>;
}

/// What a worker brings to a run.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Said to the coordinator.
    pub ready: Ready,
    /// The layout of the models that will come.
    pub layout: Arc<Layout>,
}

/// What training returns.
#[derive(Clone, Debug)]
pub struct Update {
    /// w_k − w, sealed by the plan's stages.
    pub update: Parameters,
    /// Number of examples trained on.
    pub weight: u64,
}

impl Update {
    /// What is said of the update before its bytes.
    pub(super) fn header(&self, offer: &Offer) -> Put {
        Put {
            ticket: offer.ticket,
            version: offer.version,
            digest: self.update.digest(),
            bytes: self.update.bytes().len() as u64,
            weight: self.weight,
        }
    }
}

/// Looks at work from outside, at every batch.
pub trait Watch {
    /// Tells how far the work is; `false` asks to stop now.
    fn goes_on(&mut self, done: u64, total: u64) -> bool;
}

pub(super) enum Order {
    Evaluate { ticket: Ticket, model: Parameters, cancel: Arc<AtomicBool> },
    Prepare { run: RunId, plan: String },
    Train { run: RunId, round: Round, offer: Offer, model: Parameters, cancel: Arc<AtomicBool> },
}

pub(super) enum Outcome {
    Measured {
        ticket: Ticket,
        results: Result<Box<Results>, String>,
    },
    /// Beside what the worker brings, the update that an earlier process finished for this run.
    Prepared {
        prepared: Result<Prepared, String>,
        restored: Option<Box<Restored>>,
    },
    Progress {
        ticket: Ticket,
        done: u64,
        total: u64,
    },
    Trained {
        ticket: Ticket,
        finished: Result<Box<Finished>, String>,
    },
}

/// An update that is ready to be sent. Its digest is computed on the training thread: the other one serves connections.
pub(super) struct Finished {
    pub(super) header: Put,
    pub(super) update: Parameters,
}

/// The ends of the thread's inbox and outbox. Dropping the inbox ends the thread.
pub(super) struct Thread {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) outcomes: mpsc::Receiver<Outcome>,
}

pub(super) fn start(
    mut worker: impl Worker,
    name: &str,
    outbox: Option<Outbox>,
    system: &System,
) -> std::io::Result<Thread> {
    let kept = outbox;
    let (orders, mut inbox) = mpsc::channel(INBOX);
    let (outbox, outcomes) = mpsc::channel(INBOX);
    let machine = system.clone();
    system.start(&format!("train {name}"), async move {
        while let Some(order) = inbox.recv().await {
            machine.order().await;
            let outcome = perform(&mut worker, order, kept.as_ref(), &outbox);
            if outbox.send(outcome).await.is_err() {
                return;
            }
        }
    })?;
    Ok(Thread { orders, outcomes })
}

fn perform(worker: &mut impl Worker, order: Order, kept: Option<&Outbox>, outbox: &mpsc::Sender<Outcome>) -> Outcome {
    match order {
        Order::Prepare { run, plan } => {
            let prepared = worker.prepare(&plan);
            let restored = prepared.as_ref().ok().zip(kept).and_then(|(prepared, kept)| {
                kept.restore(run, &prepared.layout).unwrap_or_else(|error| {
                    tracing::warn!(%error, "a finished update could not be read and is forgotten");
                    None
                })
            });
            Outcome::Prepared { prepared, restored: restored.map(Box::new) }
        }
        Order::Evaluate { ticket, model, cancel } => {
            let mut watch = Outside { ticket, cancel, outbox };
            Outcome::Measured { ticket, results: worker.evaluate(&model, &mut watch).map(Box::new) }
        }
        Order::Train { run, round, offer, model, cancel } => {
            let mut watch = Outside { ticket: offer.ticket, cancel, outbox };
            let finished = worker.train(round, &model, &mut watch).and_then(|trained| {
                let (header, update) = (trained.header(&offer), trained.update);
                let safe = kept.map_or(Ok(()), |kept| kept.keep(run, &offer, &header, &update));
                safe.map_err(|error| format!("the finished update could not be kept on disk: {error}"))?;
                Ok(Box::new(Finished { header, update }))
            });
            Outcome::Trained { ticket: offer.ticket, finished }
        }
    }
}

struct Outside<'a> {
    ticket: Ticket,
    cancel: Arc<AtomicBool>,
    outbox: &'a mpsc::Sender<Outcome>,
}

impl Watch for Outside<'_> {
    fn goes_on(&mut self, done: u64, total: u64) -> bool {
        // Progress is a courtesy: when the outbox is full it is left out, training never waits for it.
        let is_round_number = done.is_multiple_of((total / 100).max(1));
        if is_round_number && self.outbox.capacity() > INBOX / 2 {
            drop(self.outbox.try_send(Outcome::Progress { ticket: self.ticket, done, total }));
        }
        !self.cancel.load(Ordering::Relaxed)
    }
}
