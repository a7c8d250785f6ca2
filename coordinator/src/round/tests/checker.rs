//! Watches a machine from outside: it sees what goes in and what comes out, and knows nothing of the inside.

use std::collections::{BTreeMap, BTreeSet};

use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket, Version};
use tributary_common::time::Time;

use super::super::{Effect, Event, Recorded, Report, Row};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Checker {
    rows: Vec<Recorded>,
    /// So many of the rows are durable.
    durable: usize,
    quorum: usize,
    /// Tickets whose sum is finished or forgotten.
    closed: BTreeSet<Ticket>,
    /// Weights in the sums of this process; a restart forgets every sum.
    folded: BTreeMap<(Ticket, ClientId), u64>,
    /// Who was in the sum when a commit was asked for.
    committed: BTreeMap<Ticket, BTreeSet<ClientId>>,
    /// Offers without an end.
    offered: BTreeSet<(Ticket, ClientId)>,
    has_ended: bool,
}

impl Checker {
    pub(super) fn new(quorum: usize) -> Self {
        Self { quorum, ..Self::default() }
    }

    /// All rows, once a restart has said which are left.
    pub(super) fn rows(&self) -> &[Recorded] {
        &self.rows
    }

    /// Leaves the rows that a restart finds: the durable ones, and up to `more` whose `Appended` was on its way.
    pub(super) fn restart(&mut self, more: usize) {
        self.rows.truncate(self.durable + more);
        self.durable = self.rows.len();
        self.closed.clear();
        self.folded.clear();
        self.offered.clear();
    }

    /// Somebody goes back to a version before the restart.
    pub(super) fn roll_back(&mut self, now: Time, to: Version) {
        self.rows.push(Recorded { at: now, row: Row::RolledBack { version: to } });
        self.durable = self.rows.len();
    }

    pub(super) fn sees_event(&mut self, event: &Event) {
        match event {
            Event::Appended { sequence } => {
                self.durable = self.durable.max(usize::try_from(*sequence).unwrap() + 1);
            }
            Event::Evaluated { client, ticket } | Event::TaskDeclined { client, ticket, .. } => {
                self.offered.remove(&(*ticket, client.clone()));
            }
            _ => {}
        }
    }

    pub(super) fn sees(&mut self, now: Time, effect: &Effect) {
        let is_goodbye = matches!(effect, Effect::Discard { .. } | Effect::Goodbye { .. });
        assert!(!self.has_ended || is_goodbye, "I6: after the end come only goodbyes, not {effect:?}");
        match effect {
            Effect::Append { sequence, row } => {
                assert_eq!(*sequence, self.rows.len() as u64, "rows have numbers without gaps");
                self.rows.push(Recorded { at: now, row: row.clone() });
            }
            Effect::Cancel { client, ticket, .. } | Effect::Discard { client, ticket, .. } => {
                self.offered.remove(&(*ticket, client.clone()));
            }
            Effect::Close { ticket } => {
                self.assert_durable(|row| matches!(row, Row::RoundClosing { ticket: t } if t == ticket), effect);
                self.ends(*ticket);
            }
            Effect::Commit { ticket, version, weight } => self.sees_commit(*ticket, *version, *weight),
            Effect::Drop { ticket } => {
                self.assert_durable(|row| matches!(row, Row::RoundAborted { ticket: t, .. } if t == ticket), effect);
                self.ends(*ticket);
            }
            Effect::Fold { client, ticket, weight } => {
                assert!(!self.closed.contains(ticket), "I2: {ticket} is closed");
                self.assert_durable(
                    |row| {
                        matches!(row, Row::UpdateAccepted { ticket: t, client: c, weight: w, .. }
                            if t == ticket && c == client && w == weight)
                    },
                    effect,
                );
                let before = self.folded.insert((*ticket, client.clone()), *weight);
                assert_eq!(before, None, "I1: {client} counts twice in {ticket}");
            }
            Effect::Offer { client, ticket, version, .. } => {
                let last = self.version();
                if matches!(ticket, Ticket::Evaluate { .. }) {
                    // Beside the last version one older may still be measured.
                    assert!(
                        *version == last || version.next() == last,
                        "{version} is measured while {last} is the last"
                    );
                } else {
                    assert_eq!(*version, last, "training starts from the last durable commit");
                    let opens = |row: &Row| matches!(row, Row::RoundOpened { ticket: t, cohort, .. } if t == ticket && cohort.contains(client));
                    self.assert_durable(opens, effect);
                    assert!(!self.closed.contains(ticket), "{ticket} is closed");
                }
                self.offered.insert((*ticket, client.clone()));
            }
            Effect::Publish(Report::Finished { version, .. }) => {
                self.assert_durable(
                    |row| matches!(row, Row::ModelCommitted { version: v, .. } if v == version),
                    effect,
                );
                self.ends(Ticket::Evaluate { version: *version });
            }
            Effect::Receipt { client, ticket, digest } => self.sees_receipt(client, *ticket, *digest, effect),
            Effect::Stop { reason } => {
                // After a pause they end in another process.
                let is_left = !self.offered.is_empty() && !reason.is_pause();
                assert!(!is_left, "I5: the end leaves offers without an end: {:?}", self.offered);
                self.has_ended = true;
            }
            Effect::Goodbye { .. } => assert!(self.has_ended, "goodbye before the end"),
            Effect::Publish(_) => {}
        }
    }

    fn sees_receipt(&mut self, client: &ClientId, ticket: Ticket, digest: Digest, effect: &Effect) {
        self.assert_durable(
            |row| {
                matches!(row, Row::UpdateAccepted { ticket: t, client: c, digest: d, .. }
                    if *t == ticket && c == client && *d == digest)
            },
            effect,
        );
        let is_in_sum = self.folded.contains_key(&(ticket, client.clone()));
        let is_in_commit = self.committed.get(&ticket).is_some_and(|who| who.contains(client))
            && self.is_durable(|row| matches!(row, Row::ModelCommitted { ticket: t, .. } if *t == ticket));
        assert!(is_in_sum || is_in_commit, "{effect:?} for an update that counts nowhere");
        self.offered.remove(&(ticket, client.clone()));
    }

    fn sees_commit(&mut self, ticket: Ticket, version: Version, weight: u64) {
        assert_eq!(version, self.version().next(), "I3: versions grow by one");
        let folded = self.folded.iter().filter(|((folded, _), _)| *folded == ticket);
        let (who, weights): (BTreeSet<_>, Vec<_>) =
            folded.map(|((_, client), weight)| (client.clone(), *weight)).unzip();
        let accepted = self.rows[..self.durable].iter().filter_map(|recorded| match &recorded.row {
            Row::UpdateAccepted { ticket: t, client, .. } if *t == ticket => Some(client.clone()),
            _ => None,
        });
        assert_eq!(accepted.collect::<BTreeSet<_>>(), who, "P3: what was accepted, by whatever process, counts");
        assert!(who.len() >= self.quorum, "I10: {} updates are below quorum", who.len());
        assert_eq!(weights.iter().sum::<u64>(), weight, "I7: weights add up");
        self.committed.insert(ticket, who);
    }

    fn ends(&mut self, ticket: Ticket) {
        self.closed.insert(ticket);
        let open: Vec<_> = self.offered.iter().filter(|(offered, _)| *offered == ticket).collect();
        assert!(open.is_empty(), "I5: offers without an end: {open:?}");
    }

    /// The last durable version.
    pub(super) fn version(&self) -> Version {
        let committed = self.rows[..self.durable].iter().rev().find_map(|recorded| match &recorded.row {
            Row::ModelCommitted { version, .. } | Row::RolledBack { version } => Some(*version),
            _ => None,
        });
        committed.unwrap_or(Version(0))
    }

    fn is_durable(&self, wanted: impl Fn(&Row) -> bool) -> bool {
        self.rows[..self.durable].iter().any(|recorded| wanted(&recorded.row))
    }

    fn assert_durable(&self, wanted: impl Fn(&Row) -> bool, effect: &Effect) {
        assert!(self.is_durable(wanted), "I9: {effect:?} before its row is durable");
    }
}
