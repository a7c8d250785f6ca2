//! The fold thread: owns the sum, the model and the server optimiser; reads spools block by block.

use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;
use tributary_common::Digest;
use tributary_common::id::{Ticket, Version};
use tributary_common::parameters::Parameters;
use tributary_common::sum::{Sum, Weight};

use super::spool::Spool;
use crate::optimize::Optimizer;
use crate::store::Store;

/// Orders that may wait for the thread: staged updates are bounded by the cohort, so this only smooths.
const INBOX: usize = 256;

/// What is read of a spool at once, in bytes.
const BLOCK_BYTES: usize = 1 << 20;

pub(super) enum Order {
    Abandon,
    Close { ticket: Ticket },
    Commit { version: Version },
    Fold { spool: Spool, weight: Weight },
    MarkBest,
}

pub(super) enum Done {
    Closed { ticket: Ticket },
    Committed { version: Version, digest: Digest, model: Parameters },
    Failed(String),
}

pub(super) struct Thread {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) done: mpsc::Receiver<Done>,
}

pub(super) fn start(
    model: Parameters,
    optimizer: Optimizer,
    bits: u32,
    store: Arc<dyn Store>,
) -> std::io::Result<Thread> {
    let (orders, mut inbox) = mpsc::channel(INBOX);
    let (outbox, done) = mpsc::channel(INBOX);
    thread::Builder::new().name("fold".to_owned()).spawn(move || {
        let mut folder = Folder { model, optimizer, bits, sum: None, block: vec![0; BLOCK_BYTES], store };
        while let Some(order) = inbox.blocking_recv() {
            let answer = folder.perform(order).unwrap_or_else(|why| Some(Done::Failed(why)));
            if answer.is_some_and(|answer| outbox.blocking_send(answer).is_err()) {
                return;
            }
        }
    })?;
    Ok(Thread { orders, done })
}

struct Folder {
    model: Parameters,
    optimizer: Optimizer,
    bits: u32,
    /// Made with the first update of a round, so that an idle coordinator holds none.
    sum: Option<Sum>,
    block: Vec<u8>,
    store: Arc<dyn Store>,
}

impl Folder {
    fn perform(&mut self, order: Order) -> Result<Option<Done>, String> {
        match order {
            Order::Close { ticket } => Ok(Some(Done::Closed { ticket })),
            Order::Commit { version } => self.commit(version).map(Some),
            Order::Abandon => {
                self.sum = None;
                Ok(None)
            }
            Order::Fold { spool, weight } => self.fold(spool, weight).map(|()| None),
            Order::MarkBest => self.store.mark_best().map(|()| None).map_err(|error| error.to_string()),
        }
    }

    fn fold(&mut self, spool: Spool, weight: Weight) -> Result<(), String> {
        let layout = self.model.layout();
        let dtype = layout.tensors().first().map_or(tributary_common::parameters::Dtype::F32, |tensor| tensor.dtype);
        if self.sum.is_none() {
            self.sum = Some(Sum::new(layout.count(), self.bits).map_err(|error| error.to_string())?);
        }
        let sum = self.sum.as_mut().expect("made above");
        sum.admit(weight).map_err(|error| error.to_string())?;
        let mut at = 0;
        let mut result = Ok(());
        let read = spool.read(&mut self.block, |block| {
            if result.is_ok() {
                result = sum.fold_bytes(at, dtype, block, weight);
                at += block.len() / dtype.size();
            }
        });
        // The update passed every check when it came; what fails now is the disk.
        read.map_err(|error| format!("could not read a staged update: {error}"))?;
        result.map_err(|error| format!("a staged update changed on disk: {error}"))
    }

    fn commit(&mut self, version: Version) -> Result<Done, String> {
        let sum = self.sum.take().expect("a commit has a quorum of at least one");
        let model = self.optimizer.step(&self.model, &sum).map_err(|error| error.to_string())?;
        drop(sum);
        self.model = model.clone();
        self.store.keep(version, &model, &self.optimizer.state()).map_err(|error| error.to_string())?;
        Ok(Done::Committed { version, digest: model.digest(), model })
    }
}
