//! The network between the coordinator and its clients: what it loses, delays, repeats, reorders and cuts.
//!
//! It is worse than QUIC, which repeats what is lost until the connection itself is gone: here a message of a standing
//! connection is lost for good. Only the three messages by which a connection begins take it with them.

use std::time::Duration;

use tributary_common::time::Time;

use super::fault::Fault;
use super::message::{ToClient, ToCoordinator};
use super::world::{Happening, World};

/// Whoever hears nothing for so long takes a connection for gone.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Down,
    Up,
}

/// One client's way to the coordinator and back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// Nothing passes until then, by direction.
    pub(super) cut_until: [Time; 2],
    /// When the last message in order arrives, by direction.
    last: [Time; 2],
}

impl World {
    pub(super) fn send_down(&mut self, index: usize, connection: u64, message: ToClient) {
        let arrivals = self.arrivals(index, Direction::Down);
        if arrivals.is_empty() && matches!(message, ToClient::Welcome { .. }) {
            self.schedule(IDLE, Happening::Lose { index, connection });
        }
        for at in arrivals {
            let message = message.clone();
            self.schedule_at(at, Happening::Down { index, connection, message });
        }
    }

    pub(super) fn send_up(&mut self, index: usize, connection: u64, message: ToCoordinator) {
        let arrivals = self.arrivals(index, Direction::Up);
        if arrivals.is_empty() && matches!(message, ToCoordinator::Hello { .. } | ToCoordinator::Ready { .. }) {
            self.schedule(IDLE, Happening::Lose { index, connection });
        }
        for at in arrivals {
            let message = Box::new(message.clone());
            self.schedule_at(at, Happening::Up { index, connection, message });
        }
    }

    /// When a message that leaves now arrives: never, once, or twice.
    fn arrivals(&mut self, index: usize, direction: Direction) -> Vec<Time> {
        if self.is_cut(index, direction) || self.strikes(Fault::Lost) {
            return Vec::new();
        }
        let mut at = self.now + self.between(1, 40);
        if self.strikes(Fault::Delayed) {
            at = at + self.between(500, 30_000);
        }
        let last = &mut self.links[index].last[direction as usize];
        let in_order = at.max(*last + Duration::from_nanos(1));
        let overtakes = in_order > at;
        if overtakes && self.strikes(Fault::Reordered) {
            // It stays before the one that left earlier.
        } else {
            at = in_order;
            self.links[index].last[direction as usize] = at;
        }
        if self.strikes(Fault::Duplicated) {
            let again = at + self.between(0, 3_000);
            return vec![at, again];
        }
        vec![at]
    }

    pub(super) fn is_cut(&self, index: usize, direction: Direction) -> bool {
        self.links[index].cut_until[direction as usize] > self.now
    }

    /// Cuts a client off, both ways or one, for a while.
    pub(super) fn cut(&mut self, index: usize, directions: &[Direction]) {
        let until = self.now + self.between(500, 60_000);
        for direction in directions {
            self.links[index].cut_until[*direction as usize] = until;
        }
        let Some(connection) = self.devices[index].connection else { return };
        if until > self.now + IDLE {
            for direction in directions {
                self.schedule(
                    IDLE,
                    match direction {
                        Direction::Down => Happening::Lose { index, connection },
                        Direction::Up => Happening::Gone { index, connection },
                    },
                );
            }
        }
    }

    /// When the other end of a connection knows that this end closed it.
    pub(super) fn close_heard(&mut self, index: usize, direction: Direction) -> Duration {
        if self.is_cut(index, direction) { IDLE } else { self.between(1, 40) }
    }
}
