//! Updates on their way to the sum: announced, here, or not taken.

use tokio::sync::oneshot;
use tributary_common::id::{ClientId, Ticket};
use tributary_common::message::{Put, ToClient};

use super::Driver;
use crate::record::Recorder;
use crate::round::{Event, Standing};
use crate::server::session::Admission;
use crate::server::spool::Spool;

impl Driver {
    pub(super) fn admit(&mut self, client: ClientId, put: &Put, answer: oneshot::Sender<Admission>) {
        let admission = self.admission(&client, put);
        if matches!(admission, Admission::Known) {
            // Nothing needs to be sent again: the machine answers with the receipt alone.
            let (ticket, weight, digest) = (put.ticket, put.weight.max(1), put.digest);
            self.events.push_back(Event::Staged { client, ticket, weight, digest });
        }
        drop(answer.send(admission));
    }

    fn admission(&mut self, client: &ClientId, put: &Put) -> Admission {
        let no = |reason: String| Admission::No(reason);
        match self.machine.standing(client, put.ticket) {
            Standing::Counted(digest) | Standing::Staged(digest) if digest == put.digest => return Admission::Known,
            // Another update for the same work: the bytes need not come.
            Standing::Counted(counted) | Standing::Staged(counted) => {
                self.say(client, ToClient::Conflict { ticket: put.ticket, counted });
                return no("another update was accepted already".to_owned());
            }
            Standing::Closed(why) => return no(why),
            Standing::Open => {}
        }
        match self.flaw(put) {
            None => Admission::Yes,
            // What cannot become good loses its slot now, not at the deadline.
            Some(reason) => {
                let (client, ticket) = (client.clone(), put.ticket);
                self.events.push_back(Event::Refused { client, ticket, reason: reason.clone() });
                no(reason)
            }
        }
    }

    /// What is wrong with an announced update, before a byte of it comes.
    fn flaw(&self, put: &Put) -> Option<String> {
        let size = self.model.layout().bytes() as u64;
        if put.bytes != size {
            return Some(format!("the update has {} bytes, the model {size}", put.bytes));
        }
        if put.version != self.machine.version() {
            return Some(format!("it starts from version {}, the round from {}", put.version, self.machine.version()));
        }
        self.strategy.aggregator.weight(put.weight).err().map(|error| error.to_string())
    }

    pub(super) fn staged(&mut self, client: ClientId, put: &Put, spool: Spool) {
        self.recorder.received(put.ticket, put.bytes);
        let ticket = put.ticket;
        match self.strategy.aggregator.weight(put.weight) {
            Ok(weight) => {
                // A copy that comes while the first is here is dropped; the machine answers it all the same.
                if self.machine.standing(&client, ticket) == Standing::Open {
                    self.staged.insert((ticket, client.clone()), spool);
                }
                self.events.push_back(Event::Staged { client, ticket, weight: weight.get(), digest: put.digest });
            }
            Err(error) => {
                self.events.push_back(Event::Refused { client, ticket, reason: error.to_string() });
            }
        }
    }

    pub(super) fn postponed(&mut self, client: ClientId, ticket: Ticket, reason: String) {
        // A client that knocks again and again adds no second line.
        if self.machine.open_ticket() == Some(ticket) && self.postponed.replace(ticket) != Some(ticket) {
            drop(self.publish(&Recorder::notice(None, format!("updates of {ticket} are not taken: {reason}"))));
        }
        self.events.push_back(Event::Postponed { client, ticket, reason });
    }
}
