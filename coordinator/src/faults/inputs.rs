//! What the coordinator's process does about what it hears: as the server's sessions and driver do.

use tributary_common::id::{ClientId, Ticket};
use tributary_common::identity::Role;
use tributary_common::parameters::Dtype;
use tributary_common::sum;

use super::fault::Fault;
use super::message::{Announced, ToClient, ToCoordinator};
use super::network::{Direction, IDLE};
use super::process::Member;
use super::work::Update;
use super::world::{Happening, World};
use crate::round::{Event, Standing};

/// What becomes of an announced update.
enum Admission {
    Known,
    Later,
    No,
    Yes,
}

impl World {
    pub(super) fn hear_up(&mut self, index: usize, connection: u64, message: ToCoordinator) {
        let Some(process) = &mut self.process else { return };
        let device = &self.devices[index];
        let (client, role) = (device.id.clone(), device.role);
        let is_barred = device.barred_until > self.now;
        let member = process.members[index].as_mut().filter(|member| member.connection == connection);
        let event = match (message, member) {
            (ToCoordinator::Hello { .. }, _) if is_barred => return,
            (ToCoordinator::Hello { holding }, _) => {
                let old = process.members[index].replace(Member { connection, holding, is_ready: false });
                if let Some(connection) = old.map(|old| old.connection).filter(|old| *old != connection) {
                    self.schedule_at(self.now, Happening::Lose { index, connection });
                }
                self.schedule(IDLE, Happening::Unheard { index, connection });
                return self.send_down(index, connection, ToClient::Welcome { is_done: false });
            }
            (ToCoordinator::Ready { examples }, Some(member)) => {
                member.is_ready = true;
                let holding = member.holding.take();
                self.oracle.announced(&client, examples);
                Some(Event::Joined { client, role, holding, weight: self.aggregator.announced(examples) })
            }
            (ToCoordinator::Accept { ticket }, Some(_)) => Some(Event::TaskAccepted { client, ticket }),
            (ToCoordinator::Progress { ticket }, Some(_)) => Some(Event::Progress { client, ticket }),
            (ToCoordinator::Decline { ticket }, Some(_)) => {
                Some(Event::TaskDeclined { client, ticket, reason: "it cannot".to_owned() })
            }
            (
                ToCoordinator::Ready { .. }
                | ToCoordinator::Accept { .. }
                | ToCoordinator::Progress { .. }
                | ToCoordinator::Decline { .. },
                None,
            ) => None,
            (ToCoordinator::Get { ticket, version }, _) => {
                let last = process.machine.version();
                let is_there = version == last || version.next() == last;
                return self.transferred(index, connection, ticket, ToClient::Model { ticket, is_there });
            }
            (ToCoordinator::Put(announced), _) => {
                if role == Role::Client {
                    self.announced(index, connection, &client, announced);
                }
                return self.settle();
            }
            (ToCoordinator::Payload { announced, update }, _) => {
                if self.strikes(Fault::BrokenOff) {
                    return self.send_down(index, connection, ToClient::Later { ticket: announced.ticket });
                }
                let event = self.received(client, is_barred, announced, update);
                Some(event)
            }
            (ToCoordinator::Report { .. }, _) if is_barred => None,
            (ToCoordinator::Report { ticket }, _) => {
                // Where this is what breaks, the client gives again what was counted.
                self.transferred(index, connection, ticket, ToClient::Reported { ticket });
                Some(Event::Evaluated { client, ticket })
            }
        };
        if let (Some(process), Some(event)) = (&mut self.process, event) {
            process.events.push_back(event);
        }
        self.settle();
    }

    /// The end of a transfer, unless it broke.
    fn transferred(&mut self, index: usize, connection: u64, ticket: Ticket, end: ToClient) {
        let is_broken = self.strikes(Fault::BrokenOff);
        self.send_down(index, connection, if is_broken { ToClient::Later { ticket } } else { end });
    }

    /// The driver's `admit`.
    fn announced(&mut self, index: usize, connection: u64, client: &ClientId, announced: Announced) {
        let Announced { ticket, weight, digest } = announced;
        let flaw = self.aggregator.weight(weight).err();
        let is_taken = !self.strikes(Fault::NotTaken);
        let Some(process) = &mut self.process else { return };
        let (admission, event) = match process.machine.standing(client, ticket) {
            Standing::Counted(held) | Standing::Staged(held) if held == digest => {
                let weight = weight.max(1);
                (Admission::Known, Some(Event::Staged { client: client.clone(), ticket, weight, digest }))
            }
            Standing::Counted(_) | Standing::Staged(_) | Standing::Closed(_) => (Admission::No, None),
            Standing::Open => match flaw {
                None if is_taken => (Admission::Yes, None),
                None => {
                    let reason = "the disk is at its floor".to_owned();
                    (Admission::Later, Some(Event::Postponed { client: client.clone(), ticket, reason }))
                }
                Some(flaw) => (Admission::No, Some(refused(client.clone(), ticket, &flaw))),
            },
        };
        process.events.extend(event);
        let message = match admission {
            Admission::Known => ToClient::PutOver { ticket, is_known: true },
            Admission::Later => ToClient::Later { ticket },
            Admission::No => {
                self.effort.dismisses(self.now, index, ticket);
                ToClient::PutOver { ticket, is_known: false }
            }
            Admission::Yes => ToClient::Permit { ticket, digest },
        };
        self.send_down(index, connection, message);
    }

    /// The session's `receive` and the driver's `staged`.
    fn received(&mut self, client: ClientId, is_barred: bool, announced: Announced, mut update: Update) -> Event {
        let Announced { ticket, weight, digest } = announced;
        if is_barred {
            return refused(client, ticket, &"its certificate was revoked");
        }
        let found = update.parameters.digest();
        if found != digest {
            return refused(client, ticket, &"its digest is another");
        }
        if let Err(error) = sum::check_bytes(0, Dtype::F64, update.parameters.bytes()) {
            return refused(client, ticket, &error);
        }
        match self.aggregator.weight(weight) {
            Err(error) => refused(client, ticket, &error),
            Ok(weight) => {
                let process = self.process.as_mut().expect("it hears");
                if process.machine.standing(&client, ticket) == Standing::Open {
                    (update.weight, update.digest) = (weight.get(), digest);
                    let key = process.machine.without_attempt(ticket);
                    process.staged.insert((key, client.clone()), update);
                }
                Event::Staged { client, ticket, weight: weight.get(), digest }
            }
        }
    }

    /// The first words of a connection came when its client had long given it up.
    pub(super) fn unheard(&mut self, index: usize, connection: u64) {
        if self.devices[index].connection != Some(connection) {
            self.gone(index, connection);
        }
    }

    /// The coordinator's end of a connection is gone.
    pub(super) fn gone(&mut self, index: usize, connection: u64) {
        let client = self.devices[index].id.clone();
        let Some(process) = &mut self.process else { return };
        if process.members[index].take_if(|member| member.connection == connection).is_none() {
            return;
        }
        process.events.push_back(Event::Left { client });
        let heard = self.close_heard(index, Direction::Down);
        self.schedule(heard, Happening::Lose { index, connection });
        self.settle();
    }

    /// A client's certificate is taken back; it has another one later.
    pub(super) fn revoke(&mut self, index: usize) {
        let pause = self.between(1_000, 60_000);
        self.devices[index].barred_until = self.now + pause;
        let client = self.devices[index].id.clone();
        let Some(process) = &mut self.process else { return };
        if let Some(member) = process.members[index].take() {
            process.events.push_back(Event::Revoked { client });
            let heard = self.close_heard(index, Direction::Down);
            self.schedule(heard, Happening::Lose { index, connection: member.connection });
            self.settle();
        }
    }
}

fn refused(client: ClientId, ticket: Ticket, reason: &dyn std::fmt::Display) -> Event {
    Event::Refused { client, ticket, reason: reason.to_string() }
}
