//! The transfers of a connection: of each piece of work one at a time, on its way or waiting to begin again.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use quinn::Connection;
use tokio::task::JoinSet;
use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket};
use tributary_common::net;

use super::patience::Patience;
use super::transfer::{Fault, Fetched};
use crate::machine::Phase;

/// How long transfers may take to notice that their connection is closed.
const BREAK_OFF: Duration = Duration::from_secs(1);

/// What a transfer came to.
pub(super) enum Transferred {
    /// The download of a model.
    Fetched { model: Digest, fetched: Fetched },
    /// An update, or the results of an evaluation.
    Given(Result<(), Fault>),
    /// None: it was the time before one.
    Waited,
}

pub(super) struct Transfers {
    tasks: JoinSet<(Ticket, Transferred)>,
    /// The work that they are for.
    busy: BTreeSet<Ticket>,
    patience: Patience,
}

impl Transfers {
    pub(super) fn new(name: ClientId) -> Self {
        Self { tasks: JoinSet::new(), busy: BTreeSet::new(), patience: Patience::new(name) }
    }

    /// Begins a transfer, unless the work has one; returns whether it does.
    pub(super) fn begin<F>(&mut self, ticket: Ticket, transfer: impl FnOnce() -> F) -> bool
    where
        F: Future<Output = Transferred> + Send + 'static,
    {
        let is_free = self.busy.insert(ticket);
        if is_free {
            let transfer = transfer();
            self.tasks.spawn(async move { (ticket, transfer.await) });
        }
        is_free
    }

    /// Waits before a transfer of work in this phase is tried again, no longer than the connection stands; returns how long.
    pub(super) fn wait(&mut self, connection: &Connection, work: (Ticket, Phase), named: Duration) -> Duration {
        let wait = self.patience.next(work, named);
        let connection = connection.clone();
        self.begin(work.0, || async move {
            tokio::select! {
                biased;
                _ = connection.closed() => {}
                () = tokio::time::sleep(wait) => {}
            }
            Transferred::Waited
        });
        wait
    }

    /// The next one that ends; none while there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Result<(Ticket, Transferred), net::Error>> {
        let ended = self.tasks.join_next().await?;
        Some(ended.map_err(|error| net::Error::Read(error.to_string())).inspect(|(ticket, _)| {
            self.busy.remove(ticket);
        }))
    }

    /// Ends the transfers of a closed connection, once they have noticed; returns what they have brought so far.
    pub(super) async fn break_off(&mut self) -> Vec<Transferred> {
        let mut brought = Vec::new();
        let gather = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((_, transferred)) => brought.push(transferred),
                    Err(error) => tracing::error!(%error, "a transfer ended badly"),
                }
            }
        };
        if tokio::time::timeout(BREAK_OFF, gather).await.is_err() {
            self.tasks.abort_all();
        }
        self.busy.clear();
        brought
    }
}
