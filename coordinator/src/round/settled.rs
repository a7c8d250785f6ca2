//! What counted in the last committed round: a client whose receipt was lost gets it again, although the round is over.
//!
//! Older rounds are not kept. A client that comes back later than that is told that the work is over, never that its
//! update did not count.

use std::collections::BTreeMap;

use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket};

use super::phase::Collecting;
use super::{Row, Slot};

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

    /// From the rows of an earlier process. What came before the last opening of a round was folded into a sum that a
    /// restart forgot.
    pub(super) fn of_rows(rows: &[Row]) -> Option<Self> {
        let last = rows.iter().rposition(|row| matches!(row, Row::ModelCommitted { .. }))?;
        let Row::ModelCommitted { ticket, .. } = &rows[last] else { return None };
        let mut updates = BTreeMap::new();
        for row in &rows[..last] {
            match row {
                Row::RoundOpened { .. } => updates.clear(),
                Row::UpdateAccepted { ticket: accepted, client, digest, .. } if accepted == ticket => {
                    updates.insert(client.clone(), *digest);
                }
                _ => {}
            }
        }
        Some(Self { ticket: *ticket, updates })
    }

    pub(super) fn digest(&self, client: &ClientId, ticket: Ticket) -> Option<Digest> {
        if ticket == self.ticket { self.updates.get(client).copied() } else { None }
    }
}
