//! The transfers of a connection: of each piece of work one at a time, on its way or waiting to begin again.
//!
//! What is here of models outlives the connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::task::{JoinError, JoinSet};
use tributary_common::Digest;
use tributary_common::id::Ticket;
use tributary_common::message::{Offer, Put, Request, Results};
use tributary_common::net;
use tributary_common::parameters::{Layout, Parameters};

use super::Settings;
use super::models::Models;
use super::patience::Patience;
use super::transfer::{self, Fault, Fetched};
use crate::machine::Phase;

/// How long transfers may take to notice that their connection is closed.
const BREAK_OFF: Duration = Duration::from_secs(1);

/// What a transfer has brought.
pub(super) enum Brought {
    /// Nothing: it was the time before one.
    Due,
    /// The coordinator has the update or the results.
    Given,
    Model(Parameters),
}

/// How a task ended.
enum Ended {
    Fetched { model: Digest, fetched: Fetched },
    Given(Result<(), Fault>),
    Waited,
}

pub(super) struct Transfers {
    tasks: JoinSet<(Ticket, Ended)>,
    /// The work that they are for.
    busy: BTreeSet<Ticket>,
    /// The models that are on their way, also for work that is over.
    coming: BTreeSet<Digest>,
    patience: Patience,
    models: Models,
    permit_seconds: u64,
}

impl Transfers {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            tasks: JoinSet::new(),
            busy: BTreeSet::new(),
            coming: BTreeSet::new(),
            patience: Patience::new(settings.name.clone()),
            models: Models::new(settings.models.clone()),
            permit_seconds: settings.permit_seconds,
        }
    }

    /// Begins to get the model of `offer`, which must have this layout, unless it is on its way already, for this work or
    /// for some that is over.
    pub(super) fn fetch(&mut self, connection: Connection, offer: Offer, layout: Option<&Arc<Layout>>) {
        if self.coming.contains(&offer.model) || !self.busy.insert(offer.ticket) {
            return;
        }
        self.coming.insert(offer.model);
        let kept = match layout {
            Some(layout) if layout.bytes() as u64 == offer.bytes => Ok(self.models.of(offer.model, layout)),
            Some(layout) => {
                let (got, needed) = (offer.bytes, layout.bytes());
                Err(format!("the offered model has {got} bytes, the plan's layers need {needed}"))
            }
            None => Err("an offer came before the data were ready".to_owned()),
        };
        self.tasks.spawn(async move {
            let fetched = match kept {
                Ok(kept) => transfer::fetch(connection, kept, &offer).await,
                Err(reason) => Fetched::Missed(Fault::Refused(net::Error::Refused(reason)), None),
            };
            (offer.ticket, Ended::Fetched { model: offer.model, fetched })
        });
    }

    /// Begins to give a finished update, unless it is on its way already; returns whether it does.
    pub(super) fn put(&mut self, connection: Connection, header: Put, update: Parameters) -> bool {
        let (ticket, permit_seconds) = (header.ticket, self.permit_seconds);
        let begins = self.busy.insert(ticket);
        if begins {
            self.tasks.spawn(async move {
                (ticket, Ended::Given(transfer::put(connection, header, update, permit_seconds).await))
            });
        }
        begins
    }

    /// Begins to give the results of an evaluation, unless they are on their way already.
    pub(super) fn report(&mut self, connection: Connection, ticket: Ticket, results: Box<Results>) {
        if self.busy.insert(ticket) {
            let request = Request::Report { ticket, results };
            self.tasks.spawn(async move { (ticket, Ended::Given(transfer::report(connection, request).await)) });
        }
    }

    /// Waits before a transfer of work in this phase is tried again, no longer than the connection stands; returns how long.
    pub(super) fn wait(&mut self, connection: &Connection, work: (Ticket, Phase), named: Duration) -> Duration {
        let wait = self.patience.next(work, named);
        let connection = connection.clone();
        self.busy.insert(work.0);
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                _ = connection.closed() => {}
                () = tokio::time::sleep(wait) => {}
            }
            (work.0, Ended::Waited)
        });
        wait
    }

    /// The next one that ends; none while there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Result<(Ticket, Result<Brought, Fault>), JoinError>> {
        let ended = self.tasks.join_next().await?;
        Some(ended.map(|(ticket, ended)| {
            self.busy.remove(&ticket);
            (ticket, self.take(ended))
        }))
    }

    /// Keeps a model, or what came of it.
    fn take(&mut self, ended: Ended) -> Result<Brought, Fault> {
        match ended {
            Ended::Fetched { model: digest, fetched } => {
                self.coming.remove(&digest);
                match fetched {
                    Fetched::Model(model) => {
                        self.models.came(digest, &model);
                        Ok(Brought::Model(model))
                    }
                    Fetched::Missed(fault, partial) => {
                        partial.into_iter().for_each(|partial| self.models.keep(partial));
                        Err(fault)
                    }
                }
            }
            Ended::Given(given) => given.map(|()| Brought::Given),
            Ended::Waited => Ok(Brought::Due),
        }
    }

    /// Ends the transfers of a closed connection, once they have noticed; what they have brought of models is kept.
    pub(super) async fn break_off(&mut self) {
        let gather = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((_, ended)) => drop(self.take(ended)),
                    Err(error) => tracing::error!(%error, "a transfer ended badly"),
                }
            }
        };
        // Those that have not noticed by then are aborted.
        drop(tokio::time::timeout(BREAK_OFF, gather).await);
        self.tasks = JoinSet::new();
        self.busy.clear();
        self.coming.clear();
    }
}
