//! What counted in the last committed round: a client whose receipt was lost gets it again, although the round is over.
//!
//! Older rounds are not kept. A client that comes back later than that is told that the work is over, never that its
//! update did not count.

use std::collections::BTreeMap;

use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket};

use super::phase::Collecting;
use super::{Recorded, Row, Slot};

/// Acknowledged updates of one committed round; as many as its cohort at most.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    ticket: Ticket,
    updates: BTreeMap<ClientId, Digest>,
}

impl Settled {
    pub(super) fn of_round(round: &Collecting) -> Self {
        let updates = round.places.iter().filter_map(|place| match place.slot {
            Slot::Folded { digest, .. } => Some((place.client.clone(), digest)),
            _ => None,
        });
        Self { ticket: round.ticket, updates: updates.collect() }
    }

    /// From the rows of an earlier process up to a commit.
    pub(super) fn of_rows(rows: &[Recorded]) -> Option<Self> {
        let Row::ModelCommitted { ticket, .. } = rows.last()?.row else { return None };
        let begin = rows.iter().rposition(|recorded| matches!(recorded.row, Row::RoundOpened { .. }))?;
        let updates = rows[begin..].iter().filter_map(|recorded| match &recorded.row {
            Row::UpdateAccepted { client, digest, .. } => Some((client.clone(), *digest)),
            _ => None,
        });
        Some(Self { ticket, updates: updates.collect() })
    }

    pub(super) fn digest(&self, client: &ClientId, ticket: Ticket) -> Option<Digest> {
        if ticket == self.ticket { self.updates.get(client).copied() } else { None }
    }
}
