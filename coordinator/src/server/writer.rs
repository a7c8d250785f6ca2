//! The journal's thread: rows go in, and it says up to which row everything is safe.
//!
//! Rows that came while the disk was busy share the next fsync: the slower the disk, the more of them, and nobody waits
//! for a timer. What is safe is a level, not a message: the driver can never be kept waiting by an answer.

use std::time::SystemTime;

use tokio::sync::{mpsc, watch};
use tributary_common::net::System;
use tributary_common::time::Time;

use crate::round::Recorded;
use crate::store::Journal;
use crate::store::journal::{Brings, Item};

/// Rows that share one transaction at most; as many may wait for the thread.
const GROUP: usize = 256;

/// What the driver wants kept.
pub(super) enum Order {
    /// The run's clock, so that a restart knows how much of a deadline is over.
    Clock(Time),
    Row {
        recorded: Recorded,
        brings: Brings,
    },
}

/// How far the thread is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Safe {
    /// Nothing more is kept; why.
    Failed(String),
    /// Every row below this number is safe.
    Below(u64),
}

/// The ends of the thread's inbox and outbox. Dropping the inbox ends the thread once everything is written.
pub(super) struct Thread {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) safe: watch::Receiver<Safe>,
}

pub(super) fn start(journal: Journal, system: &System) -> std::io::Result<Thread> {
    let (orders, inbox) = mpsc::channel(GROUP);
    let (outbox, safe) = watch::channel(Safe::Below(journal.next()));
    let machine = system.clone();
    system.start("journal", async move {
        let last = write(journal, inbox, &outbox, &machine).await;
        // The journal is closed by now: whoever waits for the end may open it.
        outbox.send_replace(last);
    })?;
    Ok(Thread { orders, safe })
}

/// Writes until nobody gives orders any more, or the disk fails.
async fn write(
    mut journal: Journal,
    mut inbox: mpsc::Receiver<Order>,
    outbox: &watch::Sender<Safe>,
    machine: &System,
) -> Safe {
    let mut orders = Vec::with_capacity(GROUP);
    let mut at = Time::ZERO;
    while inbox.recv_many(&mut orders, GROUP).await > 0 {
        machine.order().await;
        let wall_ms = wall_ms();
        let mut items = Vec::with_capacity(orders.len());
        for order in orders.drain(..) {
            match order {
                Order::Clock(now) => at = at.max(now),
                Order::Row { recorded, brings } => {
                    at = at.max(recorded.at);
                    items.push(Item { recorded, wall_ms, brings });
                }
            }
        }
        if let Err(error) = journal.commit(items, at) {
            return Safe::Failed(error.to_string());
        }
        outbox.send_replace(Safe::Below(journal.next()));
    }
    Safe::Below(journal.next())
}

#[expect(clippy::disallowed_methods, reason = "people want to know when something happened; nothing depends on it")]
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::Row;
    use crate::store::journal::Payload;
    use crate::store::{Durability, Retained};
    use bytes::Bytes;
    use tributary_common::Digest;
    use tributary_common::id::{Attempt, ClientId, Round, RunId, Ticket};

    fn created() -> Order {
        let row = Row::RunCreated { run: RunId([7; 16]), config: Digest([1; 32]), model: Digest([2; 32]) };
        Order::Row {
            recorded: Recorded { at: Time(3), row },
            brings: Brings::Version(Retained { optimizer: Digest([0; 32]), kept_from: None }),
        }
    }

    #[tokio::test]
    async fn what_is_said_to_be_safe_is_found_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut thread = start(Journal::create(folder.path(), Durability::Power).unwrap(), &System::Real).unwrap();
        thread.orders.send(created()).await.unwrap();
        thread.safe.wait_for(|safe| *safe == Safe::Below(1)).await.unwrap();
        assert_eq!(Journal::look(folder.path()).unwrap().entries.len(), 1);
        thread.orders.send(Order::Clock(Time(50))).await.unwrap();
        drop(thread.orders);
        // The outbox closes with the journal: another process may open it now.
        while thread.safe.changed().await.is_ok() {}
        let (_, found) = Journal::open(folder.path(), Durability::Power).unwrap();
        assert_eq!((found.entries.len(), found.at), (1, Time(50)));
    }

    /// What goes wrong without it: a receipt leaves for an update that is on no disk.
    #[tokio::test]
    async fn after_a_failure_nothing_is_called_safe() {
        let folder = tempfile::tempdir().unwrap();
        let mut thread = start(Journal::create(folder.path(), Durability::Power).unwrap(), &System::Real).unwrap();
        std::fs::remove_dir_all(crate::store::journal::updates_folder(folder.path())).unwrap();
        let ticket = Ticket::Train { round: Round(1), attempt: Attempt(0) };
        let client = ClientId::simulated(0, 1);
        let row = Row::UpdateAccepted { ticket, client, weight: 1, digest: Digest([0; 32]) };
        let brings = Brings::Update(Payload::Bytes(Bytes::from_static(b"four")));
        thread.orders.send(Order::Row { recorded: Recorded { at: Time(1), row }, brings }).await.unwrap();
        let failed = thread.safe.wait_for(|safe| matches!(safe, Safe::Failed(_))).await.unwrap().clone();
        assert!(matches!(&failed, Safe::Failed(why) if why.contains("updates")), "{failed:?}");
        while thread.safe.changed().await.is_ok() {}
        assert_eq!(*thread.safe.borrow(), failed);
    }
}
