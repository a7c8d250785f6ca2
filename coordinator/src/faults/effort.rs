//! Judges from outside whether the work of clients is wasted: what a client has finished for a ticket it neither forgets nor
//! computes again, and what it is still computing it does not begin anew, unless it was told that nobody waits for it.
//!
//! A process that pauses tells nobody so: the round that it leaves open waits for that work.

use std::collections::{BTreeMap, BTreeSet};

use tributary_common::id::Ticket;
use tributary_common::time::Time;

/// The training that a client began last.
#[derive(Clone, Copy, Debug)]
struct Training {
    ticket: Ticket,
    /// The number of the process that computes it.
    life: u32,
    is_finished: bool,
    /// It counts, or it is over by the client's own doing.
    is_over: bool,
}

#[derive(Debug, Default)]
pub(super) struct Effort {
    /// By the index of the client.
    last: BTreeMap<usize, Training>,
    /// When clients were told that nobody waits for their work; what was said of a ticket may be heard late.
    dismissed: BTreeMap<(usize, Ticket), Vec<Time>>,
    /// When processes paused.
    pauses: BTreeSet<Time>,
}

impl Effort {
    fn of(&mut self, index: usize, ticket: Ticket) -> Option<&mut Training> {
        self.last.get_mut(&index).filter(|training| training.ticket == ticket)
    }

    /// Why a client may not lose what it has of its last training; none if it may.
    fn claim(&self, index: usize, training: &Training) -> Option<&'static str> {
        if training.is_over {
            return None;
        }
        match self.dismissed.get(&(index, training.ticket)) {
            None => Some("nobody told it that its work is not waited for"),
            Some(times) if times.iter().all(|at| self.pauses.contains(at)) => {
                Some("only a process that paused told it to")
            }
            Some(_) => None,
        }
    }

    /// A client begins to train.
    pub(super) fn begins(&mut self, index: usize, life: u32, ticket: Ticket) {
        if let Some(before) = self.last.get(&index).filter(|before| before.ticket == ticket)
            && (before.is_finished || before.life == life)
            && let Some(why) = self.claim(index, before)
        {
            panic!("client {index} trains for {ticket} again: {why}");
        }
        self.last.insert(index, Training { ticket, life, is_finished: false, is_over: false });
    }

    /// Its update is in its outbox.
    pub(super) fn finishes(&mut self, index: usize, ticket: Ticket) {
        if let Some(training) = self.of(index, ticket) {
            training.is_finished = true;
        }
    }

    /// It counts, or the client ends it by itself.
    pub(super) fn ends(&mut self, index: usize, ticket: Ticket) {
        if let Some(training) = self.of(index, ticket) {
            training.is_over = true;
        }
    }

    /// The coordinator says that it does not wait for it.
    pub(super) fn dismisses(&mut self, now: Time, index: usize, ticket: Ticket) {
        self.dismissed.entry((index, ticket)).or_default().push(now);
    }

    /// The coordinator says so of whatever the client has.
    pub(super) fn dismisses_all(&mut self, now: Time, index: usize) {
        if let Some(ticket) = self.last.get(&index).map(|training| training.ticket) {
            self.dismisses(now, index, ticket);
        }
    }

    /// Work of a later round is offered: nobody waits for that of the ones before.
    pub(super) fn offers(&mut self, now: Time, index: usize, ticket: Ticket) {
        if let Some(before) = self.last.get(&index).map(|training| training.ticket)
            && matches!(ticket, Ticket::Train { .. })
            && before < ticket
        {
            self.dismisses(now, index, before);
        }
    }

    /// A process pauses.
    pub(super) fn pauses(&mut self, now: Time) {
        self.pauses.insert(now);
    }

    /// A client forgets what it has of a training.
    pub(super) fn forgets(&self, index: usize, ticket: Ticket) {
        if let Some(training) = self.last.get(&index).filter(|training| training.ticket == ticket)
            && training.is_finished
            && let Some(why) = self.claim(index, training)
        {
            panic!("client {index} forgets its finished update for {ticket}: {why}");
        }
    }
}
