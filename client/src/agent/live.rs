//! The connection at hand: who is on the other end, what comes on the control stream and what is said there.

use std::time::Duration;

use quinn::{Connection, SendStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tributary_common::id::Ticket;
use tributary_common::message::{Hello, ToClient, ToCoordinator, Welcome};
use tributary_common::net::{self, ANSWER_SECONDS, FrameReader};

use super::{Settings, silence};

/// Messages that may wait between the reader's task and the session.
const INBOX: usize = 16;

/// What lives as long as the connection. Dropping it aborts the tasks.
pub(super) struct Live {
    pub(super) connection: Connection,
    control: SendStream,
    inbox: mpsc::Receiver<Result<ToClient, net::Error>>,
    /// The tenth last said for a ticket: a message a percent is a message too many.
    told: Option<(Ticket, u64)>,
    /// The reader, and who asks when nothing comes.
    _tasks: JoinSet<()>,
}

/// Says hello on a control stream of its own and hears the welcome; the stream's both ends come with it.
pub(super) async fn greet(
    connection: &Connection,
    hello: Hello,
) -> Result<(SendStream, FrameReader, Welcome), net::Error> {
    let (mut control, recv) = connection.open_bi().await?;
    net::write_message(&mut control, &ToCoordinator::Hello(hello)).await?;
    let mut reader = FrameReader::new(recv);
    let first = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS), reader.next());
    match first.await.map_err(|_| net::Error::TimedOut(ANSWER_SECONDS))?? {
        Some(ToClient::Welcome(welcome)) => Ok((control, reader, welcome)),
        Some(_) => Err(net::Error::Refused("the first message is no welcome".to_owned())),
        None => Err(net::Error::StreamEnded),
    }
}

impl Live {
    /// What `reader` brings goes to the inbox; when nothing comes, the coordinator is asked.
    pub(super) fn new(settings: &Settings, connection: Connection, control: SendStream, reader: FrameReader) -> Self {
        let (outbox, inbox) = mpsc::channel(INBOX);
        let mut tasks = JoinSet::new();
        tasks.spawn(read(reader, outbox));
        tasks.spawn(silence::ask(connection.clone(), settings.keep_alive, settings.windows));
        Self { connection, control, inbox, told: None, _tasks: tasks }
    }

    /// The next message. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<ToClient, net::Error> {
        self.inbox.recv().await.unwrap_or(Err(net::Error::StreamEnded))
    }

    pub(super) async fn say(&mut self, message: &ToCoordinator) -> Result<(), net::Error> {
        net::write_message(&mut self.control, message).await
    }

    /// Says how far the work is, in tenths.
    pub(super) async fn progress(&mut self, ticket: Ticket, done: u64, total: u64) -> Result<(), net::Error> {
        let tenth = done * 10 / total.max(1);
        if self.told == Some((ticket, tenth)) {
            return Ok(());
        }
        self.told = Some((ticket, tenth));
        self.say(&ToCoordinator::Progress { ticket, done, total }).await
    }
}

/// Reads control messages to the end of the stream or the first that is none.
async fn read(mut reader: FrameReader, outbox: mpsc::Sender<Result<ToClient, net::Error>>) {
    loop {
        let message = reader.next().await.and_then(|message| message.ok_or(net::Error::StreamEnded));
        let is_last = message.is_err();
        if outbox.send(message).await.is_err() || is_last {
            return;
        }
    }
}
