//! What became of one client's slots over a whole run.

use std::collections::BTreeMap;

use tributary_common::event::Slot;
use tributary_common::id::ClientId;

/// Counts of one client, over all rounds and attempts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Participation {
    /// Slots that it was offered.
    pub(crate) chosen: u64,
    /// Updates that counted.
    pub(crate) folded: u64,
    /// Offers that it declined.
    pub(crate) declined: u64,
    /// Slots that ended without an update.
    pub(crate) lost: u64,
    /// Updates that were refused.
    pub(crate) refused: u64,
    /// Updates that counted and were another client's too, byte for byte.
    pub(crate) same: u64,
    /// Sum of the weights that counted.
    pub(crate) weight: u64,
    /// Seconds of the slots that counted, added up.
    pub(crate) seconds: f64,
    /// Bytes of updates that arrived.
    pub(crate) bytes_up: u64,
    /// Why the last slot that did not count did not.
    pub(crate) reason: Option<String>,
}

impl Participation {
    /// Adds the fate of one slot. Sums of numbers from a file stop at the largest rather than fail.
    pub(crate) fn add(&mut self, slot: Slot) {
        self.chosen += 1;
        match slot.fate.as_str() {
            "folded" => {
                self.folded += 1;
                self.seconds += slot.seconds;
            }
            "declined" => self.declined += 1,
            "refused" => self.refused += 1,
            _ => self.lost += 1,
        }
        self.same += u64::from(slot.same_as.is_some());
        self.weight = self.weight.saturating_add(slot.weight);
        self.bytes_up = self.bytes_up.saturating_add(slot.bytes_up);
        if slot.reason.is_some() {
            self.reason = slot.reason;
        }
    }

    /// Mean seconds of the slots that counted; none if none did.
    #[expect(clippy::cast_precision_loss, reason = "a count of lines in a file is far below 2^52")]
    pub(crate) fn seconds_mean(&self) -> Option<f64> {
        (self.folded > 0).then(|| self.seconds / self.folded as f64)
    }
}

/// All clients added up: the bottom line of the table.
pub(crate) fn total(clients: &BTreeMap<ClientId, Participation>) -> Participation {
    clients.values().fold(Participation::default(), |sum, client| Participation {
        chosen: sum.chosen + client.chosen,
        folded: sum.folded + client.folded,
        declined: sum.declined + client.declined,
        lost: sum.lost + client.lost,
        refused: sum.refused + client.refused,
        same: sum.same + client.same,
        weight: sum.weight.saturating_add(client.weight),
        seconds: sum.seconds + client.seconds,
        bytes_up: sum.bytes_up.saturating_add(client.bytes_up),
        reason: None,
    })
}

#[cfg(test)]
mod tests {
    use tributary_common::id::Round;

    use super::*;

    #[test]
    fn every_fate_is_counted_once_and_only_folded_slots_take_time() {
        let mut client = Participation::default();
        for (fate, weight, seconds) in
            [("folded", 7, 2.0), ("folded", 7, 4.0), ("lost", 0, 600.0), ("declined", 0, 0.1)]
        {
            client.add(Slot {
                round: Round(1),
                attempt: 0,
                client: "a".parse().unwrap(),
                fate: fate.to_owned(),
                reason: (fate != "folded").then(|| format!("was {fate}")),
                weight,
                seconds,
                bytes_up: 10,
                same_as: (weight > 0).then(|| "b".parse().unwrap()),
            });
        }
        assert_eq!((client.chosen, client.folded, client.lost, client.declined, client.refused), (4, 2, 1, 1, 0));
        assert_eq!((client.weight, client.bytes_up, client.same), (14, 40, 2));
        assert_eq!(client.seconds_mean(), Some(3.0));
        assert_eq!(client.reason.as_deref(), Some("was declined"));
    }
}
