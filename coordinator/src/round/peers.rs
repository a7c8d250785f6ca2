//! What clients do while a round is open. Everything here may be stale, repeated or a lie.

use tributary_common::Digest;
use tributary_common::id::{ClientId, Slot as SlotId, Ticket};
use tributary_common::identity::Role;
use tributary_common::time::Time;

use super::machine::After;
use super::opening::slot_id;
use super::phase::{Collecting, Phase};
use super::settings::{WEIGHT_MAX, WEIGHT_SUM_MAX};
use super::slot::{Loss, Slot};
use super::{Effect, Machine, Row, Standing};
#[cfg(test)]
use crate::planted::Bug;

impl Machine {
    /// A client is here, for the first time or again: it is told everything that it may have missed.
    pub(super) fn joined(
        &mut self,
        now: Time,
        client: ClientId,
        role: Role,
        holding: Option<Ticket>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(ticket) = holding {
            self.answer_holding(&client, ticket, effects);
        }
        self.revive(now, &client, holding, effects);
        self.gather(&client, role);
        for measuring in self.measuring.iter().filter(|measuring| measuring.awaited.contains(&client)) {
            effects.push(Effect::Offer {
                client: client.clone(),
                ticket: measuring.ticket(),
                slot: SlotId(0),
                version: measuring.version,
                left: measuring.deadline.since(now),
            });
        }
    }

    /// Says what became of the update that a client still holds, unless it may give it.
    fn answer_holding(&self, client: &ClientId, ticket: Ticket, effects: &mut Vec<Effect>) {
        match self.standing(client, ticket) {
            Standing::Counted(digest) => effects.push(Effect::Receipt { client: client.clone(), ticket, digest }),
            Standing::Closed(reason) => effects.push(Effect::Cancel { client: client.clone(), ticket, reason }),
            Standing::Open | Standing::Staged(_) => {}
        }
    }

    /// Gives a client that came back its slot again.
    fn revive(&mut self, now: Time, client: &ClientId, holding: Option<Ticket>, effects: &mut Vec<Effect>) {
        let version = self.version;
        let Phase::Collecting(round) = &mut self.phase else { return };
        let Some(index) = round.open_index(client) else { return };
        if round.is_open && holding == Some(round.ticket) {
            return round.set(index, Slot::Training, now);
        }
        round.set(index, Slot::Offered, now);
        if round.is_open {
            let (client, ticket, left) = (client.clone(), round.ticket, round.deadline.since(now));
            effects.push(Effect::Offer { client, ticket, slot: slot_id(index), version, left });
        }
    }

    /// The slot stays until the deadline: the client may come back.
    pub(super) fn left(&mut self, now: Time, client: &ClientId) {
        self.roster.leave(client);
        if let Phase::Collecting(round) = &mut self.phase
            && let Some(index) = round.open_index(client)
        {
            round.set(index, Slot::Away, now);
        }
    }

    /// A client that must not be here: nobody waits for its work, and what was accepted of it before stays counted.
    pub(super) fn revoked(&mut self, now: Time, client: &ClientId, effects: &mut Vec<Effect>) {
        let reason = "its certificate was revoked";
        self.roster.leave(client);
        let cancel = |ticket| Effect::Cancel { client: client.clone(), ticket, reason: reason.to_owned() };
        for measuring in &mut self.measuring {
            if measuring.awaited.remove(client) {
                effects.push(cancel(measuring.ticket()));
            }
        }
        if let Phase::Collecting(round) = &mut self.phase
            && let Some(index) = round.open_index(client)
        {
            round.set(index, Slot::Lost(Loss::Refused(reason.to_owned())), now);
            effects.extend(round.is_open.then(|| cancel(round.ticket)));
        }
    }

    /// Any sign of work: the `Accept` before it may have been lost.
    pub(super) fn works(&mut self, now: Time, client: &ClientId, ticket: Ticket) {
        self.set_open_slot(now, client, ticket, Slot::Training);
    }

    /// The client has finished, and it is not its fault that nothing comes.
    pub(super) fn postponed(&mut self, now: Time, client: &ClientId, ticket: Ticket, reason: String) {
        self.set_open_slot(now, client, ticket, Slot::Postponed(reason));
    }

    pub(super) fn declined(&mut self, now: Time, client: &ClientId, ticket: Ticket, reason: String) {
        self.evaluated(client, ticket);
        self.set_open_slot(now, client, ticket, Slot::Declined(reason));
    }

    pub(super) fn refused(
        &mut self,
        now: Time,
        client: ClientId,
        ticket: Ticket,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        self.evaluated(&client, ticket);
        self.set_open_slot(now, &client, ticket, Slot::Lost(Loss::Refused(reason.clone())));
        effects.push(Effect::Discard { client, ticket, reason });
    }

    pub(super) fn staged(
        &mut self,
        now: Time,
        client: ClientId,
        ticket: Ticket,
        weight: u64,
        digest: Digest,
        effects: &mut Vec<Effect>,
    ) {
        #[cfg(test)]
        let ticket = self.without_attempt(ticket);
        #[cfg(test)]
        if Bug::ReceiptForAnyDigest.is_planted() && matches!(self.standing(&client, ticket), Standing::Counted(_)) {
            return effects.push(Effect::Receipt { client, ticket, digest });
        }
        let reason = match self.standing(&client, ticket) {
            Standing::Counted(held) if held == digest => {
                return effects.push(Effect::Receipt { client, ticket, digest });
            }
            // The same bytes twice: the receipt of the first is on its way.
            Standing::Staged(held) if held == digest => return,
            Standing::Counted(_) | Standing::Staged(_) => {
                "another update of this client for the same work was accepted already".to_owned()
            }
            Standing::Closed(reason) => reason,
            Standing::Open => {
                let Some((round, index)) = self.open_round(&client, ticket) else {
                    let reason = "an evaluation is answered by results, not by an update".to_owned();
                    return effects.push(Effect::Discard { client, ticket, reason });
                };
                if let Err(reason) = check_weight(weight, round.weight_accepted) {
                    return self.refused(now, client, ticket, reason, effects);
                }
                // What it stated is what it is refused for; what it counts for is bounded by what the cohort announced.
                let weight = weight.min(round.weight_max.unwrap_or(weight));
                round.set(index, Slot::Staged { weight, digest }, now);
                let row = Row::UpdateAccepted { ticket, client: client.clone(), weight, digest };
                #[cfg(test)]
                if Bug::ReceiptBeforeFsync.is_planted() {
                    effects.push(Effect::Receipt { client: client.clone(), ticket, digest });
                }
                return self.append(row, After::Accept(client), effects);
            }
        };
        effects.push(Effect::Discard { client, ticket, reason });
    }

    /// The row is durable: the update counts, and its sender may forget it.
    pub(super) fn fold(&mut self, now: Time, client: &ClientId, effects: &mut Vec<Effect>) {
        let Phase::Collecting(round) = &mut self.phase else { unreachable!("a round waits for its staged updates") };
        let ticket = round.ticket;
        let index = round.index(client).expect("only a slot's client is accepted");
        let Slot::Staged { weight, digest } = round.places[index].slot else {
            unreachable!("a staged slot ends by its fold alone")
        };
        round.set(index, Slot::Folded { weight, digest }, now);
        effects.push(Effect::Fold { client: client.clone(), ticket, weight });
        effects.push(Effect::Receipt { client: client.clone(), ticket, digest });
    }

    /// The open round of `ticket` and the place of `client` in it, if an update may still come of it.
    fn open_round(&mut self, client: &ClientId, ticket: Ticket) -> Option<(&mut Collecting, usize)> {
        match &mut self.phase {
            Phase::Collecting(round) if round.is_open && round.ticket == ticket => {
                #[cfg(test)]
                if Bug::DuplicateCounted.is_planted() {
                    round.reopen(client);
                }
                let index = round.open_index(client)?;
                Some((round, index))
            }
            _ => None,
        }
    }

    fn set_open_slot(&mut self, now: Time, client: &ClientId, ticket: Ticket, slot: Slot) {
        if let Some((round, index)) = self.open_round(client, ticket) {
            round.set(index, slot, now);
        }
    }
}

fn check_weight(weight: u64, accepted: u64) -> Result<(), String> {
    if weight == 0 || weight > WEIGHT_MAX {
        return Err(format!("a weight of {weight} is outside 1 to {WEIGHT_MAX}"));
    }
    if accepted + weight > WEIGHT_SUM_MAX {
        return Err(format!("with a weight of {weight} the round's sum exceeds {WEIGHT_SUM_MAX}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_bounded_each_and_in_sum() {
        for (weight, accepted) in
            [(1, 0), (WEIGHT_MAX, 0), (1, WEIGHT_SUM_MAX - 1), (WEIGHT_MAX, WEIGHT_SUM_MAX - WEIGHT_MAX)]
        {
            assert_eq!(check_weight(weight, accepted), Ok(()), "{weight} after {accepted}");
        }
        for (weight, accepted) in
            [(0, 0), (WEIGHT_MAX + 1, 0), (u64::MAX, 1), (1, WEIGHT_SUM_MAX), (2, WEIGHT_SUM_MAX - 1)]
        {
            assert!(check_weight(weight, accepted).is_err(), "{weight} after {accepted}");
        }
    }
}
