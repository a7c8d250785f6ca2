//! Streams that fail while their connection stands. No network brings that about, so here one side is played by hand: a
//! coordinator that breaks stream after stream, or a client of one that stops.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio_util::sync::CancellationToken;
use tributary_certs::{RevocationFile, tls};
use tributary_client::agent::{self, Membership, Prepared, Settings, Status, Update, Watch, Worker};
use tributary_common::id::{Round, RunId, Slot, Ticket, Version};
use tributary_common::message::{
    Answer, Done, Hello, Offer, Ready, Request, Results, ToClient, ToCoordinator, Welcome,
};
use tributary_common::net::{self, EndpointKeys, FrameReader, System, Windows, close_code};
use tributary_common::parameters::Parameters;
use tributary_coordinator::round::Reason;
use tributary_coordinator::server::{Limits, Run, Server};
use tributary_coordinator::store::Memory;

use super::host::Host;
use super::network::{Link, Network};
use super::scenario::{
    self, ADDRESS, CLIENTS, Federation, HUB, IDLE, KEEP_ALIVE, address, document, prepared, run, runtime,
};
use super::weather::Weather;

/// Longer than any wait of a client, and than any deadline for an answer.
const LONG: Duration = Duration::from_secs(600);

const CALM: Link =
    Link { loss: 0.0, duplicated: 0.0, corrupted: 0.0, latency: Duration::from_millis(50), jitter: Duration::ZERO };

fn weather(disk: Duration) -> Weather {
    Weather { clients: 1, rounds: 1, link: CALM, training: Duration::ZERO, disk, troubles: Vec::new() }
}

fn system(network: &Network, address: IpAddr, start: u64, order_takes: Duration) -> System {
    Host::start(network, address, 1, start, order_takes).system()
}

/// How a stream fails before its request is answered.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Later,
    Reset,
    Silence,
    Stopped,
}

const TROUBLES: [Trouble; 4] = [Trouble::Later, Trouble::Reset, Trouble::Silence, Trouble::Stopped];

/// A coordinator that says what the test wants, to one client.
struct Hub {
    connection: Connection,
    control: SendStream,
    reader: FrameReader,
    model: Parameters,
    /// Streams on which nothing more is said; dropped they would end.
    silent: Vec<(SendStream, RecvStream)>,
    _endpoint: Endpoint,
}

impl Hub {
    /// Waits for the client, up to its `Ready`.
    async fn meet(endpoint: Endpoint) -> Self {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (control, recv) = connection.accept_bi().await.unwrap();
        let document = document(&weather(Duration::ZERO));
        let Run { id: run, plan, model, .. } = Run::new(RunId([7; 16]), &document, Arc::new(Memory)).unwrap();
        let reader = FrameReader::new(recv);
        let mut hub = Self { connection, control, reader, model, silent: Vec::new(), _endpoint: endpoint };
        assert!(matches!(hub.heard().await, ToCoordinator::Hello(_)));
        hub.say(&ToClient::Welcome(Welcome { run, plan, version: Version(0), done: None, return_ms: 0 })).await;
        assert!(matches!(hub.heard().await, ToCoordinator::Ready(_)));
        hub
    }

    async fn say(&mut self, message: &ToClient) {
        net::write_message(&mut self.control, message).await.unwrap();
    }

    async fn heard(&mut self) -> ToCoordinator {
        let message = tokio::time::timeout(LONG, self.reader.next()).await;
        message.expect("the client says nothing").unwrap().unwrap()
    }

    /// Offers to measure a version, which is accepted.
    async fn offer(&mut self, version: u64) -> Ticket {
        let version = Version(version);
        let ticket = Ticket::Evaluate { version };
        let (model, bytes) = (self.model.digest(), self.model.bytes().len() as u64);
        self.say(&ToClient::Offer(Offer { ticket, slot: Slot(0), version, model, bytes, left_ms: 1 << 30 })).await;
        assert_eq!(self.heard().await, ToCoordinator::Accept { ticket });
        ticket
    }

    /// The next request, if one comes within a long time.
    async fn asked(&self) -> Option<(Request, SendStream, RecvStream)> {
        let (send, mut recv) = tokio::time::timeout(LONG, self.connection.accept_bi()).await.ok()?.unwrap();
        Some((net::read_message(&mut recv).await.unwrap(), send, recv))
    }

    /// The next request, which is for the model: from where on?
    async fn asked_for_model(&self) -> (usize, SendStream, RecvStream) {
        let Some((Request::Get { digest, from }, send, recv)) = self.asked().await else {
            panic!("no model is fetched")
        };
        assert_eq!(digest, self.model.digest());
        (usize::try_from(from).unwrap(), send, recv)
    }

    /// Answers with some bytes of the model from `from` on, of all that are missing.
    async fn give(&self, send: &mut SendStream, from: usize, count: usize) {
        let bytes = self.model.bytes();
        net::write_message(send, &Answer::Bytes { len: (bytes.len() - from) as u64 }).await.unwrap();
        send.write_all(&bytes[from..from + count]).await.unwrap();
    }

    async fn fail(&mut self, trouble: Trouble, mut send: SendStream, mut recv: RecvStream) {
        match trouble {
            Trouble::Later => {
                let later = Answer::Later { seconds: 5, reason: "the hub rests".to_owned() };
                net::write_message(&mut send, &later).await.unwrap();
            }
            Trouble::Reset => send.reset(close_code::BUSY).unwrap(),
            Trouble::Silence => self.silent.push((send, recv)),
            Trouble::Stopped => {
                recv.stop(close_code::BUSY).unwrap();
                send.reset(close_code::BUSY).unwrap();
            }
        }
    }

    /// Gives the whole model on one stream.
    async fn give_model(&self) {
        let (from, mut send, _recv) = self.asked_for_model().await;
        self.give(&mut send, from, self.model.bytes().len() - from).await;
        send.finish().unwrap();
        send.stopped().await.unwrap();
    }

    /// The next request, which is a report.
    async fn reported(&self, wanted: Ticket) -> (SendStream, RecvStream) {
        match self.asked().await {
            Some((Request::Report { ticket, .. }, send, recv)) if ticket == wanted => (send, recv),
            other => panic!("no report on {wanted} comes, but {other:?}"),
        }
    }

    async fn take_report(&self, ticket: Ticket) {
        let (mut send, _recv) = self.reported(ticket).await;
        net::write_message(&mut send, &Answer::Permit { from: 0 }).await.unwrap();
        send.finish().unwrap();
        send.stopped().await.unwrap();
    }
}

/// Measures at once.
struct Judge;

impl Worker for Judge {
    fn prepare(&mut self, plan: &str) -> Result<Prepared, String> {
        prepared(plan, 1)
    }

    fn train(&mut self, _: Round, _: &Parameters, _: &mut dyn Watch) -> Result<Update, String> {
        Err("nothing is trained here".to_owned())
    }

    fn evaluate(&mut self, _: &Parameters, _: &mut dyn Watch) -> Result<Results, String> {
        Ok(Results::default())
    }
}

/// Plays what a coordinator does to a client, to the end of the run; returns what the client was told.
fn play(story: impl AsyncFnOnce(&mut Hub)) -> Vec<Status> {
    let federation = Federation::new(CLIENTS);
    runtime().block_on(async {
        let network = Network::new(1, CALM);
        let tls = tls::server_config(&federation.hub, Arc::default()).unwrap();
        let keys = EndpointKeys::derive(&federation.hub.endpoint_secret().members());
        let hub = system(&network, HUB, 1, Duration::ZERO);
        let endpoint = hub.server_endpoint(ADDRESS, tls, net::transport(Windows::default()), &keys).unwrap();
        let credentials = federation.clients[0].clone();
        let settings = Settings {
            name: credentials.identity().name.clone(),
            coordinator: ADDRESS.to_string(),
            device: "cpu".to_owned(),
            outbox: None,
            models: None,
            give_up_after: None,
            once: true,
            windows: Windows::default(),
            keep_alive: KEEP_ALIVE,
            idle: IDLE,
            permit_seconds: agent::PERMIT_SECONDS,
        };
        let client = system(&network, address(0), 2, Duration::ZERO);
        let mut told = Vec::new();
        let (membership, stop) = (Membership::fixed(credentials), CancellationToken::new());
        let agent = agent::run_on(client, settings, membership, Judge, stop, |status| told.push(status));
        let story = async {
            let mut hub = Hub::meet(endpoint).await;
            story(&mut hub).await;
            let model = hub.model.digest();
            let done = Done { reason: "rounds".to_owned(), version: Version(1), model, bytes: 8 };
            hub.say(&ToClient::Done(done)).await;
            hub.connection.closed().await;
        };
        let (ended, ()) = tokio::join!(Box::pin(agent), Box::pin(story));
        assert!(ended.unwrap().is_some(), "the client stays to the end");
        told
    })
}

fn count(told: &[Status], is_wanted: impl Fn(&Status) -> bool) -> usize {
    told.iter().filter(|status| is_wanted(status)).count()
}

/// What goes wrong without it: a stream that breaks, while nothing is wrong with the connection, costs a client the round.
#[test]
fn a_model_and_results_get_through_a_connection_whose_streams_fail() {
    let told = play(async |hub| {
        let ticket = hub.offer(1).await;
        for trouble in TROUBLES {
            let (from, send, recv) = hub.asked_for_model().await;
            assert_eq!(from, 0, "{trouble:?}");
            hub.fail(trouble, send, recv).await;
        }
        // What came of the model is not asked for again: with a reset, an early end, and silence behind some bytes.
        let mut held = 0;
        for (end, count) in ["reset", "end", "silence"].into_iter().zip([8, 4, 12]) {
            let (from, mut send, recv) = hub.asked_for_model().await;
            assert_eq!(from, held, "{end}");
            hub.give(&mut send, from, count).await;
            held += count;
            tokio::time::sleep(Duration::from_secs(1)).await;
            match end {
                "reset" => send.reset(close_code::BUSY).unwrap(),
                "end" => send.finish().unwrap(),
                _ => hub.silent.push((send, recv)),
            }
        }
        hub.give_model().await;
        for trouble in TROUBLES {
            let (send, recv) = hub.reported(ticket).await;
            hub.fail(trouble, send, recv).await;
        }
        hub.take_report(ticket).await;
        // The work is over: the next one begins, and its model is here.
        let next = hub.offer(2).await;
        hub.take_report(next).await;
    });
    let postponed = 2 * TROUBLES.len() + 3;
    assert_eq!(count(&told, |status| matches!(status, Status::Postponed { .. })), postponed, "{told:?}");
    assert_eq!(count(&told, |status| matches!(status, Status::Working { .. })), 2, "{told:?}");
    assert_eq!(count(&told, |status| matches!(status, Status::Joined { .. })), 1, "the connection stood: {told:?}");
    assert_eq!(count(&told, |status| matches!(status, Status::Dropped { .. })), 0, "{told:?}");
}

/// What goes wrong without it: a client asks without end for what nobody has or wants any more.
#[test]
fn a_model_that_is_refused_is_declined_and_one_that_is_cancelled_not_asked_for_again() {
    let told = play(async |hub| {
        let ticket = hub.offer(1).await;
        let (_, send, recv) = hub.asked_for_model().await;
        hub.fail(Trouble::Later, send, recv).await;
        // It has heard that, and waits.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let reason = "the deadline is over".to_owned();
        hub.say(&ToClient::Cancel { ticket, reason }).await;
        assert!(hub.asked().await.is_none(), "nobody waits for it");
        let ticket = hub.offer(2).await;
        let (_, mut send, _recv) = hub.asked_for_model().await;
        let refused = Answer::Refused { reason: "no such model is served".to_owned() };
        net::write_message(&mut send, &refused).await.unwrap();
        let declined = hub.heard().await;
        assert!(matches!(&declined, ToCoordinator::Decline { ticket: of, .. } if *of == ticket), "{declined:?}");
        assert!(hub.asked().await.is_none(), "it was refused");
    });
    assert_eq!(count(&told, |status| matches!(status, Status::Postponed { .. })), 1, "{told:?}");
    assert_eq!(count(&told, |status| matches!(status, Status::Dropped { .. })), 2, "{told:?}");
}

/// What goes wrong without it: a client whose link is slower than the deadline begins its model anew in every attempt.
#[test]
fn a_model_that_is_on_its_way_for_cancelled_work_is_that_of_the_next() {
    for is_whole in [true, false] {
        let told = play(async |hub| {
            let ticket = hub.offer(1).await;
            let (from, mut send, _recv) = hub.asked_for_model().await;
            hub.give(&mut send, from, 16).await;
            let reason = "the deadline is over".to_owned();
            hub.say(&ToClient::Cancel { ticket, reason }).await;
            let next = hub.offer(2).await;
            let early = tokio::time::timeout(Duration::from_secs(1), hub.connection.accept_bi()).await;
            assert!(early.is_err(), "the model is fetched twice at once");
            if is_whole {
                send.write_all(&hub.model.bytes()[16..]).await.unwrap();
                send.finish().unwrap();
            } else {
                send.reset(close_code::BUSY).unwrap();
                let (from, mut send, _recv) = hub.asked_for_model().await;
                assert_eq!(from, 16, "what came of it is kept");
                send.reset(close_code::BUSY).unwrap();
                hub.give_model().await;
            }
            hub.take_report(next).await;
        });
        assert_eq!(count(&told, |status| matches!(status, Status::Working { .. })), 1, "{told:?}");
    }
}

/// What goes wrong without it: results that come to a coordinator that is about to end are taken and forgotten.
#[test]
fn results_that_come_to_a_coordinator_that_stops_are_put_off() {
    let federation = Federation::new(CLIENTS);
    runtime().block_on(async {
        let network = Network::new(1, CALM);
        let folder = scenario::folder();
        // The rows that are on their way to this disk keep the coordinator from its end.
        let disk = Duration::from_secs(60);
        let machine = system(&network, HUB, 1, disk);
        let revoked = RevocationFile::open(&folder.path().join("revoked.crl"), federation.hub.roots()).unwrap();
        let server = Server::bind_on(machine, ADDRESS, &federation.hub, revoked, Limits::default()).unwrap();
        let stop = CancellationToken::new();
        let serving = server.serve(run(&folder.path().join("run"), &weather(disk)), stop.clone(), |_| {});
        let client = async {
            let tls = tls::client_config(&federation.clients[0]).unwrap();
            let machine = system(&network, address(0), 2, Duration::ZERO);
            let endpoint = machine.client_endpoint(ADDRESS, tls, net::transport(Windows::default())).unwrap();
            let connection = endpoint.connect(ADDRESS, "coordinator").unwrap().await.unwrap();
            let (mut control, recv) = connection.open_bi().await.unwrap();
            let hello = Hello { software: String::new(), device: String::new(), holding: None };
            net::write_message(&mut control, &ToCoordinator::Hello(hello)).await.unwrap();
            let ready = ToCoordinator::Ready(Ready { examples: 1, holdout: 1 });
            net::write_message(&mut control, &ready).await.unwrap();
            let mut reader = FrameReader::new(recv);
            assert!(matches!(reader.next().await.unwrap(), Some(ToClient::Welcome(_))));
            stop.cancel();
            assert!(matches!(reader.next().await.unwrap(), Some(ToClient::Suspended { .. })));
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            let report = Request::Report { ticket: Ticket::Evaluate { version: Version(0) }, results: Box::default() };
            net::write_message(&mut send, &report).await.unwrap();
            net::read_message::<Answer>(&mut recv).await.unwrap()
        };
        let (ended, answer) = tokio::join!(Box::pin(serving), client);
        assert_eq!(ended.unwrap().reason, Reason::Suspended);
        assert!(matches!(answer, Answer::Later { .. }), "{answer:?}");
    });
}
