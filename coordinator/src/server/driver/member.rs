//! Members: who is connected, who comes, says something, and goes.

use std::net::SocketAddr;

use tributary_certs::Serial;
use tributary_common::id::{ClientId, Ticket};
use tributary_common::identity::{Identity, Role};
use tributary_common::message::{Hello, ToClient, ToCoordinator, Welcome, short_text};
use tributary_common::net::close_code;

use super::Driver;
use crate::record::Recorder;
use crate::round::Event;
use crate::server::now;
use crate::server::session::{ConnectionId, Handle, REVOKED};

/// A connected member.
pub(super) struct Member {
    handle: Handle,
    role: Role,
    holding: Option<Ticket>,
    is_ready: bool,
}

impl Driver {
    /// Says something to a client that is ready to hear it.
    pub(super) fn say(&self, client: &ClientId, message: ToClient) {
        if let Some(member) = self.members.get(client).filter(|member| member.is_ready) {
            member.handle.say(message);
        }
    }

    /// Says the same to everybody who is connected.
    pub(super) fn say_to_all(&self, message: &ToClient) {
        self.members.values().for_each(|member| member.handle.say(message.clone()));
    }

    pub(super) fn came(&mut self, identity: Identity, hello: &Hello, handle: Handle, under_way: usize) {
        self.returning.came(now().duration_since(self.began), under_way);
        let member = Member {
            role: identity.role,
            holding: hello.holding.filter(|held| held.run == self.welcome.run).map(|held| held.ticket),
            is_ready: false,
            handle,
        };
        member.handle.say(ToClient::Welcome(Welcome { return_ms: self.return_ms(), ..self.welcome.clone() }));
        let new = member.handle.connection.remote_address();
        if let Some(old) = self.members.insert(identity.name.clone(), member) {
            self.replaced(identity.name, &old.handle, new);
        }
    }

    /// A newer connection of the same identity, from `new`, is right where the network of a client has changed.
    fn replaced(&mut self, client: ClientId, old: &Handle, new: SocketAddr) {
        let is_alive = old.connection.close_reason().is_none();
        old.close(close_code::REPLACED, "a newer connection of the same identity");
        let at = now().duration_since(self.began);
        let ends = (old.connection.remote_address(), new);
        let told = if is_alive { self.doubles.replaced(at, &client, ends) } else { None };
        if let Some(text) = told {
            drop(self.publish(&Recorder::notice(Some(client), text)));
        }
    }

    /// Over how long clients should spread their return, were this process to end now. Those whom the run waits for are
    /// counted before they are here: who comes first is told the same.
    pub(super) fn return_ms(&self) -> u32 {
        let clients = self.members.len().max(self.strategy.rounds.wait_for);
        u32::try_from(self.returning.window(clients).as_millis()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_revoked(&self, serial: &Serial) -> bool {
        self.revoked.borrow().holds(serial)
    }

    pub(super) fn gone(&mut self, client: ClientId, connection: ConnectionId) {
        let Some(member) = self.members.get(&client).filter(|member| member.handle.id() == connection) else { return };
        let is_revoked = self.is_revoked(&member.handle.serial);
        self.members.remove(&client);
        if is_revoked {
            drop(self.publish(&Recorder::notice(Some(client.clone()), format!("sent away: {REVOKED}"))));
            self.events.push_back(Event::Revoked { client });
        } else {
            self.events.push_back(Event::Left { client });
        }
    }

    pub(super) fn said(&mut self, client: ClientId, connection: ConnectionId, message: ToCoordinator) {
        let Some(member) = self.members.get_mut(&client).filter(|member| member.handle.id() == connection) else {
            return;
        };
        let event = match message {
            ToCoordinator::Ready(ready) => {
                member.is_ready = true;
                let (role, holding) = (member.role, member.holding.take());
                let weight = self.strategy.aggregator.announced(ready.examples);
                Event::Joined { client, role, holding, weight }
            }
            ToCoordinator::Unfit { reason } => {
                self.unfit(client, reason);
                return;
            }
            ToCoordinator::Accept { ticket } => Event::TaskAccepted { client, ticket },
            ToCoordinator::Decline { ticket, reason } => {
                Event::TaskDeclined { client, ticket, reason: short_text(reason) }
            }
            ToCoordinator::Progress { ticket, .. } => Event::Progress { client, ticket },
            ToCoordinator::Hello(_) => return,
        };
        self.events.push_back(event);
    }

    /// Tells why a client cannot take part, a few times: what is told is kept.
    fn unfit(&mut self, client: ClientId, reason: String) {
        let told = self.unfit.entry(client.clone()).or_default();
        *told += 1;
        if *told <= self.limits.unfit_notices {
            let text = format!("cannot take part: {}", short_text(reason));
            drop(self.publish(&Recorder::notice(Some(client), text)));
        }
    }
}
