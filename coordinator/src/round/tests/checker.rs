//! Watches a machine from outside: it sees what goes in and what comes out, and knows nothing of the inside.

use std::collections::{BTreeMap, BTreeSet};

use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket, Version};

use super::super::{Effect, Event, Row};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Checker {
    rows: Vec<Row>,
    durable: u64,
    opened: BTreeMap<Ticket, BTreeSet<ClientId>>,
    closed: BTreeSet<Ticket>,
    /// Folds since the last restart, which forgets every sum.
    folded: BTreeMap<(Ticket, ClientId), u64>,
    /// Train offers without an end.
    offered: BTreeSet<(Ticket, ClientId)>,
    pub(super) version: Version,
    quorum: usize,
    ended: bool,
}

impl Checker {
    pub(super) fn new(quorum: usize) -> Self {
        Self { quorum, ..Self::default() }
    }

    /// The rows that a restart finds: those that are durable.
    pub(super) fn restart(&mut self) -> Vec<Row> {
        self.rows.truncate(usize::try_from(self.durable).unwrap());
        self.folded.clear();
        self.offered.clear();
        self.closed.clear();
        self.opened.clear();
        self.rows.clone()
    }

    pub(super) fn sees_event(&mut self, event: &Event) {
        match event {
            Event::Appended { sequence } => self.durable = self.durable.max(sequence + 1),
            Event::TaskDeclined { client, ticket, .. } => {
                self.offered.remove(&(*ticket, client.clone()));
            }
            _ => {}
        }
    }

    pub(super) fn sees(&mut self, effect: &Effect) {
        assert!(!self.ended, "I6: after the end comes nothing, not {effect:?}");
        match effect {
            Effect::Append { sequence, row } => {
                assert_eq!(*sequence, self.rows.len() as u64, "rows have numbers without gaps");
                self.rows.push(row.clone());
            }
            Effect::Offer { client, ticket: ticket @ Ticket::Train { .. }, version, .. } => {
                assert_eq!(*version, self.version, "offers start from the last commit");
                assert!(self.is_durable(|row| matches!(row, Row::RoundOpened { ticket: t, .. } if t == ticket)));
                self.opened.entry(*ticket).or_default().insert(client.clone());
                self.offered.insert((*ticket, client.clone()));
            }
            Effect::Fold { client, ticket, weight } => {
                assert!(!self.closed.contains(ticket), "I2: {ticket} is closed");
                let before = self.folded.insert((*ticket, client.clone()), *weight);
                assert_eq!(before, None, "I1: {client} counts twice in {ticket}");
            }
            Effect::Receipt { client, ticket, digest } => {
                assert!(self.is_accepted(client, *ticket, *digest), "I9: a receipt before its row");
                self.offered.remove(&(*ticket, client.clone()));
            }
            Effect::Cancel { client, ticket, .. } | Effect::Discard { client, ticket, .. } => {
                self.offered.remove(&(*ticket, client.clone()));
            }
            Effect::Close { ticket } | Effect::Drop { ticket } => {
                self.closed.insert(*ticket);
                let open: Vec<_> = self.offered.iter().filter(|(offered, _)| offered == ticket).collect();
                assert!(open.is_empty(), "I5: offers without an end: {open:?}");
            }
            Effect::Commit { ticket, version, weight } => {
                assert_eq!(*version, self.version.next(), "I3: versions grow by one");
                self.version = *version;
                let folded: Vec<_> = self.folded.iter().filter(|((folded, _), _)| folded == ticket).collect();
                assert!(folded.len() >= self.quorum, "I10: {} updates are below quorum", folded.len());
                assert_eq!(folded.iter().map(|(_, weight)| **weight).sum::<u64>(), *weight, "I7: weights add up");
            }
            Effect::Stop { .. } => self.ended = true,
            Effect::Offer { .. } | Effect::Publish(_) => {}
        }
    }

    fn is_durable(&self, wanted: impl Fn(&Row) -> bool) -> bool {
        self.rows.iter().take(usize::try_from(self.durable).unwrap()).any(wanted)
    }

    fn is_accepted(&self, client: &ClientId, ticket: Ticket, digest: Digest) -> bool {
        self.is_durable(|row| {
            matches!(row, Row::UpdateAccepted { ticket: t, client: c, digest: d, .. }
                if *t == ticket && c == client && *d == digest)
        })
    }
}
