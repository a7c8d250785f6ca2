//! What an update, or the results of an evaluation, would meet if they came now.

use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket};

use super::{Machine, Phase, Slot};
#[cfg(test)]
use crate::planted::Bug;

/// How a client stands to a piece of work. The shell asks before it lets a byte come: only `Open` needs the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The update with this digest is in the sum, or in a commit. Sending `Staged` with it again gives the receipt again.
    Counted(Digest),
    /// Nothing can come any more, or not yet; why.
    Closed(String),
    /// It is waited for.
    Open,
    /// The update with this digest is here and its row under way: the receipt follows by itself.
    Staged(Digest),
}

impl Machine {
    /// How `client` stands to the work of `ticket`.
    #[must_use]
    pub fn standing(&self, client: &ClientId, ticket: Ticket) -> Standing {
        match ticket {
            Ticket::Evaluate { .. } => {
                if self.measuring.iter().any(|one| one.ticket() == ticket && one.awaited.contains(client)) {
                    Standing::Open
                } else {
                    Standing::Closed("nobody waits for this evaluation".to_owned())
                }
            }
            Ticket::Train { .. } => self.standing_in_training(client, ticket),
        }
    }

    /// Whether an upload of `client` for `ticket` may come: it saves the bytes of those that would be discarded.
    #[must_use]
    pub fn expects(&self, client: &ClientId, ticket: Ticket) -> bool {
        !matches!(self.standing(client, ticket), Standing::Closed(_))
    }

    /// Whether the update with this digest was accepted already: no byte of it is needed again.
    #[must_use]
    pub fn has_accepted(&self, client: &ClientId, ticket: Ticket, digest: Digest) -> bool {
        matches!(self.standing(client, ticket), Standing::Counted(held) | Standing::Staged(held) if held == digest)
    }

    fn standing_in_training(&self, client: &ClientId, ticket: Ticket) -> Standing {
        #[cfg(test)]
        let ticket = self.without_attempt(ticket);
        if let Some(digest) = self.settled.as_ref().and_then(|settled| settled.digest(client, ticket)) {
            return Standing::Counted(digest);
        }
        let is_next = ticket == Ticket::Train { round: self.round, attempt: self.attempt };
        let Some(round) = self.phase.round().filter(|round| round.ticket == ticket) else {
            let why = match &self.phase {
                Phase::Done { .. } => "the run is over".to_owned(),
                Phase::Idle if is_next => "its round is not open yet".to_owned(),
                _ => format!("the work is over, version {} is committed", self.version),
            };
            return Standing::Closed(why);
        };
        let Some(index) = round.index(client) else {
            return Standing::Closed("the client is not in the cohort".to_owned());
        };
        #[cfg(test)]
        if Bug::DuplicateCounted.is_planted() && round.is_open {
            return Standing::Open;
        }
        match &round.places[index].slot {
            Slot::Folded { digest, .. } => Standing::Counted(*digest),
            Slot::Staged { digest, .. } => Standing::Staged(*digest),
            slot if slot.is_open() && round.is_open => Standing::Open,
            Slot::Away | Slot::Offered | Slot::Postponed(_) | Slot::Training => {
                Standing::Closed("its round is not open yet".to_owned())
            }
            slot @ (Slot::Declined(_) | Slot::Lost(_)) => Standing::Closed(format!("the slot is {}", slot.name())),
        }
    }

    /// The ticket that work of the same round is taken for by a machine that ignores attempts.
    #[cfg(test)]
    pub(crate) fn without_attempt(&self, ticket: Ticket) -> Ticket {
        match (ticket, self.phase.round().map(|round| round.ticket)) {
            (Ticket::Train { round, .. }, Some(open @ Ticket::Train { round: current, .. }))
                if round == current && Bug::AttemptIgnored.is_planted() =>
            {
                open
            }
            _ => ticket,
        }
    }
}
