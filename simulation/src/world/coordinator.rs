//! The coordinator's half: what its machine wants done.

use std::time::Duration;

use tributary_client::machine as client;
use tributary_common::event::Event as Line;
use tributary_common::id::{ClientId, Slot, Ticket, Version};
use tributary_common::message::Offer;
use tributary_common::sum::Weight;
use tributary_coordinator::aggregate::{self, Aggregate, Collected};
use tributary_coordinator::round::{Effect, Event, Recorded, Report, Row};
use tributary_coordinator::store::journal::{Brings, Item};

use super::{Happening, Rank, World};
use crate::run::Error;

impl World<'_> {
    pub(super) fn step(&mut self, event: Event) -> Result<(), Error> {
        let mut effects = Vec::new();
        self.machine.step(self.now, event, &mut effects);
        for effect in effects {
            self.perform(effect)?;
        }
        Ok(())
    }

    pub(super) fn perform(&mut self, effect: Effect) -> Result<(), Error> {
        let message = self.link.message();
        match effect {
            Effect::Append { sequence, row } => {
                self.append(row)?;
                self.happen(Happening::Coordinator(Event::Appended { sequence }), Duration::ZERO);
            }
            Effect::Cancel { client, ticket, .. } => {
                self.happen(Happening::Client(client, client::Event::Cancelled { ticket }), message);
            }
            Effect::Close { ticket } => {
                self.measured();
                self.happen(Happening::Coordinator(Event::Closed { ticket }), Duration::ZERO);
            }
            Effect::Commit { version, .. } => self.commit(version)?,
            Effect::Discard { client, ticket, .. } => {
                self.staged.remove(&(ticket, client.clone()));
                self.happen(Happening::Client(client, client::Event::Refused { ticket }), message);
            }
            Effect::Drop { ticket } => {
                self.collected = None;
                self.staged.retain(|(staged, _), _| *staged != ticket);
            }
            Effect::Fold { client, ticket, weight, .. } => self.fold(client, ticket, weight)?,
            Effect::Goodbye { .. } => {}
            Effect::Offer { client, ticket, slot, version, left } => self.offer(client, ticket, slot, version, left),
            Effect::Publish(report) => self.report(report)?,
            Effect::Receipt { client, ticket, digest } => {
                self.happen(Happening::Client(client, client::Event::Received { ticket, digest }), message);
            }
            Effect::Stop { reason } => self.ended = Some(reason),
        }
        Ok(())
    }

    fn append(&mut self, row: Row) -> Result<(), Error> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let is_whole = row.ends_round() || matches!(row, Row::RunCreated { .. });
        let brings = match (&row, self.retained) {
            (Row::ModelCommitted { .. } | Row::RunCreated { .. }, Some(retained)) => Brings::Version(retained),
            _ => Brings::Nothing,
        };
        self.rows.push(Item { recorded: Recorded { at: self.now, row }, wall_ms: 0, brings });
        if is_whole {
            journal.commit(std::mem::take(&mut self.rows), self.now)?;
        }
        Ok(())
    }

    /// Asks for all measuring that is due by now: the next version is built after the last one was measured.
    pub(super) fn measured(&mut self) {
        let later = self.happenings.split_off(&(self.now, Rank::Measured, 0));
        for (place, happening) in later {
            match happening {
                Happening::Done(client, ticket) if place.0 == self.now && place.1 == Rank::Measured => {
                    self.done(&client, ticket);
                }
                other => drop(self.happenings.insert(place, other)),
            }
        }
    }

    fn offer(&mut self, client: ClientId, ticket: Ticket, slot: Slot, version: Version, left: Duration) {
        if matches!(ticket, Ticket::Train { .. }) && slot == Slot(0) {
            self.round_began = (self.clock)();
        }
        if self.link.vanishes(&client, ticket) {
            return;
        }
        let Some(model) = self.digests.get(&version).copied() else { return };
        let bytes = self.model.layout().bytes() as u64;
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let offer = Offer { ticket, slot, version, model, bytes, left_ms };
        self.happen(Happening::Client(client, client::Event::Offered(offer)), self.link.message());
    }

    fn fold(&mut self, client: ClientId, ticket: Ticket, weight: u64) -> Result<(), Error> {
        let ((_, client), update) = self.staged.remove_entry(&(ticket, client)).expect("what is folded was staged");
        let weight = Weight::new(weight).map_err(aggregate::Error::from)?;
        let layout = self.model.layout();
        let mut collected = match self.collected.take() {
            Some(collected) => collected,
            None => Collected::new(&self.run.strategy.aggregator, layout, self.threads)?,
        };
        collected.take(client, update, weight)?;
        collected.catch_up()?;
        self.collected = Some(collected);
        Ok(())
    }

    fn commit(&mut self, version: Version) -> Result<(), Error> {
        let oldest = self.machine.version();
        self.models = self.models.split_off(&oldest);
        self.digests = self.digests.split_off(&oldest);
        self.held.retain(|_, (version, _)| *version >= oldest);
        let mut collected = self.collected.take().expect("a commit has a quorum of at least one");
        let step = |aggregate: &dyn Aggregate| self.optimizer.step(&self.model, aggregate, self.threads);
        let digest;
        (self.model, digest) = collected.combined(&self.run.strategy.aggregator, step)?;
        self.retained = Some(self.run.store.keep(version, &self.model, &self.optimizer.state())?);
        self.models.insert(version, self.model.clone());
        self.digests.insert(version, digest);
        self.took.insert(version, (self.clock)().saturating_sub(self.round_began));
        self.happen(Happening::Coordinator(Event::Committed { version, digest }), Duration::ZERO);
        Ok(())
    }

    fn report(&mut self, report: Report) -> Result<(), Error> {
        let is_round = matches!(report, Report::Finished { .. });
        for mut line in self.recorder.report(report) {
            if let Line::Round(round) = &mut line
                && let Some(took) = self.took.remove(&round.version)
                && self.run.settings.is_ideal()
            {
                round.seconds = took.as_secs_f64();
            }
            self.publish(&line)?;
        }
        if is_round && let Some(version) = self.recorder.best() {
            self.run.store.mark_best(version)?;
        }
        Ok(())
    }

    pub(super) fn publish(&mut self, line: &Line) -> Result<(), Error> {
        self.run.store.event(line)?;
        (self.tell)(line);
        Ok(())
    }
}
