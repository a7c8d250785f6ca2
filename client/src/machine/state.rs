//! The machine itself.

use std::collections::VecDeque;

use tributary_common::Digest;
use tributary_common::id::Ticket;
use tributary_common::message::Offer;

use super::{Effect, Event};

/// Offers that wait behind the one being worked on: an evaluation may come while another runs, never more.
pub const OFFERS_MAX: usize = 4;

/// How far a piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The model is on its way, or waits to be asked for again.
    Fetching,
    /// The result is here and on its way, or waits for a connection or to be given again.
    Returning,
    /// Training or measuring.
    Working,
}

#[derive(Clone, Debug)]
struct Job {
    offer: Offer,
    phase: Phase,
    /// Of the finished update.
    digest: Option<Digest>,
}

impl Job {
    /// What brings it on, if that is a transfer.
    fn transfer(&self) -> Option<Effect> {
        let ticket = self.offer.ticket;
        match (self.phase, ticket) {
            (Phase::Fetching, _) => Some(Effect::Fetch(self.offer.clone())),
            (Phase::Returning, Ticket::Evaluate { .. }) => Some(Effect::Report { ticket }),
            (Phase::Returning, Ticket::Train { .. }) => Some(Effect::Put { ticket }),
            (Phase::Working, _) => None,
        }
    }
}

/// The client's machine. There are two kinds of calls: [`Machine::step`] takes an event and appends effects, which the
/// shell performs in order; [`Machine::holding`] and [`Machine::phase`] look. There is no timer: deadlines are the
/// coordinator's, which cancels.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    connected: bool,
    job: Option<Job>,
    waiting: VecDeque<Offer>,
}

impl Machine {
    /// A machine without work or connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { connected: false, job: None, waiting: VecDeque::new() }
    }

    /// The ticket of a finished update that was not acknowledged, for `Hello`.
    #[must_use]
    pub fn holding(&self) -> Option<Ticket> {
        let job = self.job.as_ref()?;
        let is_update = matches!(job.offer.ticket, Ticket::Train { .. });
        (job.phase == Phase::Returning && is_update).then_some(job.offer.ticket)
    }

    /// What is being worked on, and how far it is.
    #[must_use]
    pub fn phase(&self) -> Option<(Ticket, Phase)> {
        self.job.as_ref().map(|job| (job.offer.ticket, job.phase))
    }

    /// Takes one event. Events about work that is not at hand are stale and change nothing.
    pub fn step(&mut self, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Cancelled { ticket } | Event::Refused { ticket } | Event::Reported { ticket } => {
                self.end(ticket, effects);
            }
            Event::Received { ticket, digest } => self.received(ticket, digest, effects),
            Event::Connected => self.connected(effects),
            Event::Disconnected => self.disconnected(),
            Event::Due { ticket } => self.due(ticket, effects),
            Event::Failed { ticket, reason } => self.failed(ticket, reason, effects),
            Event::Fetched { ticket } => self.fetched(ticket, effects),
            Event::Finished { ticket, digest } => self.finished(ticket, digest, effects),
            Event::Offered(offer) => self.offered(offer, effects),
            Event::Restored { offer, digest } => self.restored(offer, digest),
        }
    }

    fn offered(&mut self, offer: Offer, effects: &mut Vec<Effect>) {
        let ticket = offer.ticket;
        match &self.job {
            Some(job) if job.offer.ticket == ticket => {
                // The coordinator repeats itself after a reconnect: say again what was perhaps not heard.
                effects.push(job.transfer().unwrap_or(Effect::Accept { ticket }));
            }
            Some(job) if supersedes(ticket, job.offer.ticket) => {
                // A client has one place in one round: a newer round's offer means that nobody waits for the old work.
                let old = job.offer.ticket;
                self.waiting.push_front(offer);
                self.end(old, effects);
            }
            Some(_) if self.waiting.len() == OFFERS_MAX => {
                effects.push(Effect::Decline { ticket, reason: format!("{OFFERS_MAX} offers are waiting already") });
            }
            Some(_) => {
                self.waiting.retain(|waiting| waiting.ticket != ticket);
                self.waiting.push_back(offer);
            }
            None => self.begin(offer, effects),
        }
    }

    /// Only an idle machine takes up what is over already; it is given back once there is a connection.
    fn restored(&mut self, offer: Offer, digest: Digest) {
        if self.job.is_none() {
            self.job = Some(Job { offer, phase: Phase::Returning, digest: Some(digest) });
        }
    }

    fn begin(&mut self, offer: Offer, effects: &mut Vec<Effect>) {
        effects.push(Effect::Accept { ticket: offer.ticket });
        effects.push(Effect::Fetch(offer.clone()));
        self.job = Some(Job { offer, phase: Phase::Fetching, digest: None });
    }

    fn fetched(&mut self, ticket: Ticket, effects: &mut Vec<Effect>) {
        if let Some(job) = self.job_in(ticket, Phase::Fetching) {
            job.phase = Phase::Working;
            effects.push(Effect::Work(job.offer.clone()));
        }
    }

    fn finished(&mut self, ticket: Ticket, digest: Option<Digest>, effects: &mut Vec<Effect>) {
        let connected = self.connected;
        if let Some(job) = self.job_in(ticket, Phase::Working) {
            job.phase = Phase::Returning;
            job.digest = digest;
            effects.extend(job.transfer().filter(|_| connected));
        }
    }

    /// The wait may have outlived the work, or the connection: then a reconnect brings the transfer.
    fn due(&self, ticket: Ticket, effects: &mut Vec<Effect>) {
        let job = self.job.as_ref().filter(|job| self.connected && job.offer.ticket == ticket);
        effects.extend(job.and_then(Job::transfer));
    }

    /// A finished update goes by a receipt of its own alone; another one's says nothing about it.
    fn received(&mut self, ticket: Ticket, digest: Digest, effects: &mut Vec<Effect>) {
        let held = self.job.as_ref().filter(|job| job.offer.ticket == ticket).and_then(|job| job.digest);
        if held.is_none_or(|held| held == digest) {
            self.end(ticket, effects);
        }
    }

    fn failed(&mut self, ticket: Ticket, reason: String, effects: &mut Vec<Effect>) {
        if self.job.as_ref().is_some_and(|job| job.offer.ticket == ticket) {
            effects.push(Effect::Decline { ticket, reason });
            self.end(ticket, effects);
        }
    }

    fn connected(&mut self, effects: &mut Vec<Effect>) {
        self.connected = true;
        effects.extend(self.job.as_ref().and_then(Job::transfer));
    }

    fn disconnected(&mut self) {
        self.connected = false;
        // What has not begun is offered again; work at hand goes on, its result is given back after the reconnect.
        self.waiting.clear();
        if self.job.as_ref().is_some_and(|job| job.phase == Phase::Fetching) {
            self.job = None;
        }
    }

    fn end(&mut self, ticket: Ticket, effects: &mut Vec<Effect>) {
        self.waiting.retain(|waiting| waiting.ticket != ticket);
        let Some(job) = self.job.take_if(|job| job.offer.ticket == ticket) else { return };
        if job.phase == Phase::Working {
            effects.push(Effect::Stop { ticket });
        }
        effects.push(Effect::Forget { ticket });
        if let Some(next) = self.waiting.pop_front() {
            self.begin(next, effects);
        }
    }

    fn job_in(&mut self, ticket: Ticket, phase: Phase) -> Option<&mut Job> {
        self.job.as_mut().filter(|job| job.offer.ticket == ticket && job.phase == phase)
    }
}

/// Whether an offer of `new` means that nobody waits for `old` any more.
fn supersedes(new: Ticket, old: Ticket) -> bool {
    matches!((new, old), (Ticket::Train { .. }, Ticket::Train { .. })) && new > old
}
