//! The training thread: training blocks, so it has a thread and an inbox of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::mpsc;
use tributary_common::id::{Round, Ticket};
use tributary_common::message::{Ready, Results};
use tributary_common::metrics::Metrics;
use tributary_common::parameters::{Layout, Parameters};

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
    /// What was measured on the way.
    pub metrics: Option<Metrics>,
}

/// Looks at work from outside, at every batch.
pub trait Watch {
    /// Tells how far the work is; `false` asks to stop now.
    fn goes_on(&mut self, done: u64, total: u64) -> bool;
}

pub(super) enum Order {
    Evaluate { ticket: Ticket, model: Parameters, cancel: Arc<AtomicBool> },
    Prepare { plan: String },
    Train { ticket: Ticket, round: Round, model: Parameters, cancel: Arc<AtomicBool> },
}

pub(super) enum Outcome {
    Measured { ticket: Ticket, results: Result<Box<Results>, String> },
    Prepared(Result<Prepared, String>),
    Progress { ticket: Ticket, done: u64, total: u64 },
    Trained { ticket: Ticket, update: Result<Box<Update>, String> },
}

/// The ends of the thread's inbox and outbox. Dropping the inbox ends the thread.
pub(super) struct Thread {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) outcomes: mpsc::Receiver<Outcome>,
}

pub(super) fn start(mut worker: impl Worker, name: &str) -> std::io::Result<Thread> {
    let (orders, mut inbox) = mpsc::channel(INBOX);
    let (outbox, outcomes) = mpsc::channel(INBOX);
    thread::Builder::new().name(format!("train {name}")).spawn(move || {
        while let Some(order) = inbox.blocking_recv() {
            let outcome = perform(&mut worker, order, &outbox);
            if outbox.blocking_send(outcome).is_err() {
                return;
            }
        }
    })?;
    Ok(Thread { orders, outcomes })
}

fn perform(worker: &mut impl Worker, order: Order, outbox: &mpsc::Sender<Outcome>) -> Outcome {
    match order {
        Order::Prepare { plan } => Outcome::Prepared(worker.prepare(&plan)),
        Order::Evaluate { ticket, model, cancel } => {
            let mut watch = Outside { ticket, cancel, outbox };
            Outcome::Measured { ticket, results: worker.evaluate(&model, &mut watch).map(Box::new) }
        }
        Order::Train { ticket, round, model, cancel } => {
            let mut watch = Outside { ticket, cancel, outbox };
            Outcome::Trained { ticket, update: worker.train(round, &model, &mut watch).map(Box::new) }
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
