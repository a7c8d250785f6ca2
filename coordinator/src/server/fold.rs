//! The fold thread: owns what a round collects, the model and the server optimiser.

use std::sync::Arc;

use tokio::sync::mpsc;
use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket, Version};
use tributary_common::net::System;
use tributary_common::parameters::Parameters;
use tributary_common::sum::Weight;

use super::spool::Spool;
use crate::aggregate::{self, Aggregator, Collected};
use crate::optimize::Optimizer;
use crate::spread::Threads;
use crate::store::{Retained, Store};

/// Orders that may wait for the thread: staged updates are bounded by the cohort, so this only smooths.
const INBOX: usize = 256;

pub(super) enum Order {
    Abandon,
    Close { ticket: Ticket },
    Commit { version: Version },
    Fold { client: ClientId, spool: Spool, weight: Weight },
    MarkBest { version: Version },
}

pub(super) enum Done {
    Closed {
        ticket: Ticket,
    },
    /// `retained` is what its row says that is kept.
    Committed {
        version: Version,
        digest: Digest,
        retained: Retained,
        model: Parameters,
    },
    Failed(String),
}

pub(super) struct Thread {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) done: mpsc::Receiver<Done>,
}

pub(super) fn start(
    model: Parameters,
    optimizer: Optimizer,
    aggregator: Aggregator,
    store: Arc<dyn Store>,
    system: &System,
) -> std::io::Result<Thread> {
    let (orders, mut inbox) = mpsc::channel(INBOX);
    let (outbox, done) = mpsc::channel(INBOX);
    let machine = system.clone();
    system.start("fold", async move {
        let mut folder =
            Folder { model, optimizer, aggregator, collected: None, store, threads: Threads::of_machine() };
        while let Some(order) = inbox.recv().await {
            machine.order().await;
            let answer = folder.perform(order).unwrap_or_else(|why| Some(Done::Failed(why)));
            if let Some(answer) = answer
                && outbox.send(answer).await.is_err()
            {
                return;
            }
            if inbox.is_empty()
                && let Err(error) = folder.catch_up()
                && outbox.send(Done::Failed(error.to_string())).await.is_err()
            {
                return;
            }
        }
    })?;
    Ok(Thread { orders, done })
}

struct Folder {
    model: Parameters,
    optimizer: Optimizer,
    aggregator: Aggregator,
    /// Made with the first update of a round, so that an idle coordinator holds none.
    collected: Option<Collected<Spool>>,
    store: Arc<dyn Store>,
    threads: Threads,
}

impl Folder {
    fn perform(&mut self, order: Order) -> Result<Option<Done>, String> {
        match order {
            Order::Close { ticket } => Ok(Some(Done::Closed { ticket })),
            Order::Commit { version } => self.commit(version).map(Some),
            Order::Abandon => {
                self.collected = None;
                Ok(None)
            }
            Order::Fold { client, spool, weight } => {
                self.fold(client, spool, weight).map(|()| None).map_err(|error| error.to_string())
            }
            Order::MarkBest { version } => {
                self.store.mark_best(version).map(|()| None).map_err(|error| error.to_string())
            }
        }
    }

    /// The update passed every check when it came; what fails now is the disk.
    fn fold(&mut self, client: ClientId, spool: Spool, weight: Weight) -> Result<(), aggregate::Error> {
        let layout = self.model.layout();
        let mut collected = match self.collected.take() {
            Some(collected) => collected,
            None => Collected::new(&self.aggregator, layout, self.threads)?,
        };
        collected.take(client, spool, weight)?;
        self.collected = Some(collected);
        Ok(())
    }

    fn catch_up(&mut self) -> Result<(), aggregate::Error> {
        self.collected.as_mut().map_or(Ok(()), Collected::catch_up)
    }

    fn commit(&mut self, version: Version) -> Result<Done, String> {
        let mut collected = self.collected.take().expect("a commit has a quorum of at least one");
        let step = |aggregate: &dyn aggregate::Aggregate| self.optimizer.step(&self.model, aggregate, self.threads);
        let (model, digest) = collected.combined(&self.aggregator, step).map_err(|error| error.to_string())?;
        drop(collected);
        self.model = model.clone();
        let retained = self.store.keep(version, &model, &self.optimizer.state()).map_err(|error| error.to_string())?;
        Ok(Done::Committed { version, digest, retained, model })
    }
}
