//! Effects: what the machine wants done.

use std::time::Duration;

use tributary_common::id::{ClientId, Slot as SlotId, Ticket, Version};
use tributary_common::message::{Offer, ToClient};
use tributary_common::sum::Weight;

use super::Driver;
use crate::round::{Effect, Event, Recorded, Report, Row, Standing};
use crate::server::fold::Order;
use crate::server::{Error, writer};
use crate::store::journal::Brings;

impl Driver {
    // ---- effects ----

    pub(super) async fn perform(&mut self, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::Append { sequence, row } => self.append(sequence, row).await?,
            Effect::Cancel { client, ticket, reason } => self.say(&client, ToClient::Cancel { ticket, reason }),
            Effect::Close { ticket } => self.order(Order::Close { ticket }).await?,
            Effect::Commit { version, .. } => {
                // What was measured before the last commit is over: its model makes room for the next one.
                self.models.forget_before(self.machine.version());
                self.order(Order::Commit { version }).await?;
            }
            Effect::Discard { client, ticket, reason } => {
                let standing = self.machine.standing(&client, ticket);
                // What is discarded may be a second update while the first one waits for its row.
                if !matches!(standing, Standing::Staged(_)) {
                    self.staged.remove(&(ticket, client.clone()));
                }
                let message = match standing {
                    Standing::Counted(counted) | Standing::Staged(counted) => ToClient::Conflict { ticket, counted },
                    Standing::Closed(_) | Standing::Open => ToClient::Verdict { ticket, reason },
                };
                self.say(&client, message);
            }
            Effect::Drop { ticket } => {
                self.staged.retain(|(staged, _), _| *staged != ticket);
                self.order(Order::Abandon).await?;
            }
            Effect::Fold { client, ticket, weight, .. } => self.fold(client, ticket, weight).await?,
            Effect::Goodbye { client, .. } => {
                if let Some(done) = self.welcome.done.clone() {
                    self.say(&client, ToClient::Done(done));
                }
            }
            Effect::Offer { client, ticket, slot, version, left } => self.offer(&client, ticket, slot, version, left),
            Effect::Publish(report) => self.report(report).await?,
            Effect::Receipt { client, ticket, digest } => {
                let receipt = self.receipts.of(&client, ticket, digest);
                self.say(&client, ToClient::Receipt { ticket, digest, receipt });
            }
            Effect::Stop { reason } => self.ended = Some(reason),
        }
        Ok(())
    }

    async fn append(&mut self, sequence: u64, row: Row) -> Result<(), Error> {
        if self.journal.is_none() {
            self.events.push_back(Event::Appended { sequence });
            return Ok(());
        }
        let brings = match &row {
            Row::ModelCommitted { .. } | Row::RunCreated { .. } => {
                Brings::Version(self.retained.take().expect("a version is kept before its row"))
            }
            Row::UpdateAccepted { ticket, client, .. } => {
                let spool = self.staged.get_mut(&(*ticket, client.clone())).expect("what is accepted was staged");
                let payload = spool.payload().map_err(|error| Error::Internal(error.to_string()))?;
                Brings::Update(payload.expect("an update is accepted once"))
            }
            Row::RolledBack { .. } | Row::RoundAborted { .. } | Row::RoundClosing { .. } | Row::RoundOpened { .. } => {
                Brings::Nothing
            }
        };
        let recorded = Recorded { at: self.now(), row };
        self.write(writer::Order::Row { recorded, brings }).await;
        Ok(())
    }

    async fn order(&self, order: Order) -> Result<(), Error> {
        let sent = self.fold.orders.send(order).await;
        sent.map_err(|_| Error::Internal("the fold thread has ended".to_owned()))
    }

    async fn fold(&mut self, client: ClientId, ticket: Ticket, weight: u64) -> Result<(), Error> {
        let staged = self.staged.remove_entry(&(ticket, client));
        let ((_, client), spool) = staged.expect("what is folded was staged");
        let weight = Weight::new(weight).map_err(|error| Error::Internal(error.to_string()))?;
        self.order(Order::Fold { client, spool, weight }).await
    }

    fn offer(&self, client: &ClientId, ticket: Ticket, slot: SlotId, version: Version, left: Duration) {
        let Some(model) = self.models.digest(version) else { return };
        let bytes = self.model.layout().bytes() as u64;
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.say(client, ToClient::Offer(Offer { ticket, slot, version, model, bytes, left_ms }));
    }

    async fn report(&mut self, report: Report) -> Result<(), Error> {
        let is_round = matches!(report, Report::Finished { .. });
        for line in self.recorder.report(report) {
            self.publish(&line)?;
        }
        if is_round {
            self.welcome.version = self.machine.version();
            self.mark_best().await?;
        }
        Ok(())
    }

    /// Sees to it that the best version is kept and shown: there may be a later one by now, or an earlier process may have
    /// ended just before.
    pub(super) async fn mark_best(&self) -> Result<(), Error> {
        match self.recorder.best() {
            Some(version) => self.order(Order::MarkBest { version }).await,
            None => Ok(()),
        }
    }
}
