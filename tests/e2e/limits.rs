//! What a coordinator bears: each limit made so small that a test reaches it, with real connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use quinn::{Connection, ConnectionError, Endpoint, TransportErrorCode};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::enrolment::Token;
use tributary_certs::{Authority, Credentials, RevocationFile, revocation, tls};
use tributary_client::agent::{self, Membership, Prepared, Settings, Status, Update, Watch, Worker};
use tributary_client::join;
use tributary_common::Digest;
use tributary_common::config::Document;
use tributary_common::id::{Round, RunId};
use tributary_common::identity::Identity;
use tributary_common::message::{Answer, Put, Ready, Request, Results, ToClient, ToCoordinator, Wire};
use tributary_common::net::{self, Pace, Windows};
use tributary_common::parameters::Parameters;
use tributary_coordinator::server::{Issuing, Limits, Rate, Run, Server};
use tributary_coordinator::store::Memory;

use super::federation::Federation;
use super::hostile::Liar;
use super::transfer::Still;

/// A coordinator in this process, with these limits; gone with the set.
struct Small {
    federation: Federation,
    address: String,
    joining: SocketAddr,
    serving: JoinSet<()>,
}

impl Small {
    fn new(limits: Limits) -> Self {
        Self::of(limits, 1, 50)
    }

    /// With a run that begins with so many clients and has so many rounds.
    fn of(limits: Limits, wait_for: u8, rounds: u8) -> Self {
        let federation = Federation::new();
        let file = federation.run_file(&[
            ("rounds = 50", &format!("rounds = {rounds}")),
            ("wait_for = 10", &format!("wait_for = {wait_for}")),
            ("quorum = 10", "quorum = 1"),
            ("on = [\"train\", \"central\"]", "on = []"),
        ]);
        ["a", "b", "c"].into_iter().for_each(|name| federation.issue(name, "client"));
        let hub = federation.path().join("hub");
        let credentials = Credentials::load(&hub).unwrap();
        let revoked = RevocationFile::open(&hub.join(revocation::FILE), credentials.roots()).unwrap();
        let loopback = "127.0.0.1:0".parse().unwrap();
        let issuing = Issuing {
            authority: Authority::open(&federation.path().join("ca")).unwrap(),
            validity: Duration::from_secs(3600),
        };
        let server = Server::bind(loopback, &credentials, revoked, limits).unwrap();
        let server = server.issuing(issuing, loopback, &credentials).unwrap();
        let address = server.address().unwrap().to_string();
        let joining = server.joining_address().unwrap().unwrap();
        let document = Document::parse("run.toml", &std::fs::read_to_string(file).unwrap()).unwrap();
        let run = Run::new(RunId([7; 16]), &document, Arc::new(Memory)).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            server.serve(run, CancellationToken::new(), |_| {}).await.unwrap();
        });
        Self { federation, address, joining, serving }
    }

    /// A device without a certificate, at the port for joining; it says nothing.
    async fn device(&self) -> Result<(Endpoint, Connection), ConnectionError> {
        let root = Digest::of(&Credentials::load(&self.federation.path().join("hub")).unwrap().roots()[0]);
        let tls = tls::join_client_config(root).unwrap();
        let endpoint = net::client_endpoint(self.joining, tls, net::stranger_transport()).unwrap();
        let connection = endpoint.connect(self.joining, "coordinator").unwrap().await?;
        Ok((endpoint, connection))
    }

    /// A handshake without the `Hello` that should follow it.
    async fn knock(&self, name: &str) -> Result<(Endpoint, Connection), ConnectionError> {
        let credentials = Credentials::load(&self.federation.path().join(name)).unwrap();
        let address = self.address.parse().unwrap();
        let transport = net::transport(Windows::default());
        let endpoint = net::client_endpoint(address, tls::client_config(&credentials).unwrap(), transport).unwrap();
        let connection = endpoint.connect(address, "coordinator").unwrap().await?;
        Ok((endpoint, connection))
    }

    async fn is_refused(&self, name: &str) {
        is_refused(self.knock(name).await);
    }
}

fn is_refused(knocked: Result<(Endpoint, Connection), ConnectionError>) {
    let refused = knocked.expect_err("the limit lets this one in");
    let ConnectionError::ConnectionClosed(close) = refused else { panic!("it ended otherwise: {refused}") };
    assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED);
}

impl Small {
    async fn join(&self, name: &str) -> Liar {
        Liar::connect(&self.federation, name, &self.address).await
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

#[test]
fn who_does_not_say_hello_takes_one_of_few_places_for_a_short_time() {
    runtime().block_on(async {
        let handshake = Duration::from_secs(3);
        let small = Small::new(Limits { half_open: 2, handshake, ..Limits::default() });
        let held = [small.knock("a").await.unwrap(), small.knock("b").await.unwrap()];
        small.is_refused("c").await;
        for (_, connection) in held {
            let closed = tokio::time::timeout(2 * handshake, connection.closed()).await;
            assert!(closed.is_ok(), "it is still here after twice the time for a handshake");
        }
        drop(small.join("c").await);
    });
}

#[test]
fn members_come_in_after_a_proof_of_their_address() {
    runtime().block_on(async {
        // With no half-open handshake allowed to be unproven everybody is sent a Retry.
        let small = Small::new(Limits { half_open_unproven: 0, ..Limits::default() });
        drop(small.join("a").await);
    });
}

#[test]
fn connections_and_handshakes_beyond_their_limits_are_refused_and_the_others_stay() {
    let two = Rate { per_second: 1e-6, burst: 2 };
    let all = Limits::default();
    for limits in [
        Limits { connections: 2, ..all },
        Limits { handshakes_per_address: two, ..all },
        Limits { handshakes: two, ..all },
    ] {
        runtime().block_on(async {
            let small = Small::new(limits);
            let [a, b] = [small.join("a").await, small.join("b").await];
            small.is_refused("c").await;
            assert!(a.connection.close_reason().is_none() && b.connection.close_reason().is_none());
        });
    }
}

/// What goes wrong without it: a byte now and then holds a permit, and with it the budget of all, as long as the peer likes.
#[test]
fn an_upload_that_drips_is_stopped_and_a_whole_one_still_counts() {
    let (second, all) = (Duration::from_secs(1), Limits { later: Duration::from_secs(7), ..Limits::default() });
    for limits in [
        Limits { upload_pace: Pace { bytes: 1024, period: second }, ..all },
        Limits { upload_pace: Pace { bytes: 1, period: second }, upload_longest: second, ..all },
    ] {
        runtime().block_on(async {
            let small = Small::new(limits);
            let mut liar = small.join("a").await;
            liar.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
            let offer = liar.offer().await;
            liar.say(&ToCoordinator::Accept { ticket: offer.ticket }).await;
            let (header, bytes) = liar.honest(&offer, 1e-3);
            let (mut send, mut recv) = liar.connection.open_bi().await.unwrap();
            net::write_message(&mut send, &Request::Put(Box::new(header.clone()))).await.unwrap();
            let answer: Answer = net::read_message(&mut recv).await.unwrap();
            assert!(matches!(answer, Answer::Permit { .. }), "{answer:?}");
            let began = Instant::now();
            for few in bytes.chunks(8) {
                if send.write_all(few).await.is_err() {
                    break;
                }
                assert!(began.elapsed() < 10 * second, "a drip is borne");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(began.elapsed() >= second / 2, "it was stopped before it was slow");
            // The transfer was at fault, not the update: it may come again.
            let answer: Answer = net::read_message(&mut recv).await.unwrap();
            assert!(matches!(answer, Answer::Later { seconds: 7, .. }), "{answer:?}");
            assert!(matches!(liar.put(header, &bytes).await, Answer::Permit { .. }));
            assert_ne!(liar.offer().await.ticket, offer.ticket, "the round was committed");
        });
    }
}

/// What goes wrong without it: what a worn disk made of half an update costs its client the round.
#[test]
fn what_is_held_of_an_update_and_is_wrong_is_asked_for_again() {
    runtime().block_on(async {
        let small = Small::new(Limits::default());
        let mut liar = small.join("a").await;
        liar.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
        let offer = liar.offer().await;
        liar.say(&ToCoordinator::Accept { ticket: offer.ticket }).await;
        let (header, bytes) = liar.honest(&offer, 1e-3);
        let (_, others) = liar.honest(&offer, 2e-3);
        let held = put_half(&liar, &header, &others).await;
        assert!(held > 0 && held.is_multiple_of(8), "{held} bytes are held");
        // The whole is not what was announced; both sides may be honest, so it is asked for from the first byte on.
        let (mut send, mut recv) = liar.connection.open_bi().await.unwrap();
        net::write_message(&mut send, &Request::Put(Box::new(header.clone()))).await.unwrap();
        assert_eq!(net::read_message::<Answer>(&mut recv).await.unwrap(), Answer::Permit { from: held });
        send.write_all(&bytes[usize::try_from(held).unwrap()..]).await.unwrap();
        send.finish().unwrap();
        assert_eq!(net::read_message::<Answer>(&mut recv).await.unwrap(), Answer::Again);
        assert_eq!(liar.put(header, &bytes).await, Answer::Permit { from: 0 });
        assert_ne!(liar.offer().await.ticket, offer.ticket, "the round was committed");
    });
}

/// What goes wrong without it: a client cannot tell whether its update or another one counts, nor prove that it does.
#[test]
fn the_same_update_gets_the_same_receipt_and_another_one_is_a_conflict() {
    runtime().block_on(async {
        let small = Small::new(Limits::default());
        let mut liar = small.join("a").await;
        liar.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
        let offer = liar.offer().await;
        let (header, bytes) = liar.honest(&offer, 1e-3);
        assert_eq!(liar.put(header.clone(), &bytes).await, Answer::Permit { from: 0 });
        let first = liar.heard(offer.ticket).await;
        assert!(matches!(first, ToClient::Receipt { digest, .. } if digest == header.digest), "{first:?}");
        assert_eq!(liar.put(header.clone(), &[]).await, Answer::Permit { from: header.bytes });
        assert_eq!(liar.heard(offer.ticket).await, first);
        let (other, bytes) = liar.honest(&offer, 2e-3);
        assert!(matches!(liar.put(other, &bytes).await, Answer::Refused { .. }));
        let conflict = ToClient::Conflict { ticket: offer.ticket, counted: header.digest };
        assert_eq!(liar.heard(offer.ticket).await, conflict);
    });
}

/// Sends half of an update and leaves; returns how much of it is held.
async fn put_half(liar: &Liar, header: &Put, bytes: &[u8]) -> u64 {
    let (mut send, mut recv) = liar.connection.open_bi().await.unwrap();
    net::write_message(&mut send, &Request::Put(Box::new(header.clone()))).await.unwrap();
    assert_eq!(net::read_message::<Answer>(&mut recv).await.unwrap(), Answer::Permit { from: 0 });
    send.write_all(&bytes[..bytes.len() / 2]).await.unwrap();
    // The stream ends early: the coordinator keeps what came and ends its side.
    send.finish().unwrap();
    assert!(net::read_message::<Answer>(&mut recv).await.is_err());
    bytes.len() as u64 / 2 / 8 * 8
}

/// What waits behind a limit does not come within this; what does not wait comes sooner.
const BEHIND: Duration = Duration::from_millis(300);

#[test]
fn devices_that_join_beyond_their_limit_are_refused() {
    runtime().block_on(async {
        let small = Small::new(Limits { joining_connections: 1, ..Limits::default() });
        let first = small.device().await.unwrap();
        is_refused(small.device().await);
        first.1.close(0_u8.into(), b"");
        first.0.wait_idle().await;
        // The place is free as soon as the coordinator has noticed.
        while small.device().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

/// What goes wrong without it: of many devices that are switched on together behind one router most give up.
#[test]
fn a_device_that_finds_no_room_asks_again_until_there_is() {
    runtime().block_on(async {
        let small = Small::new(Limits { joining_connections: 1, ..Limits::default() });
        let (endpoint, connection) = small.device().await.unwrap();
        let authority = Authority::open(&small.federation.path().join("ca")).unwrap();
        let identity: Identity = "tributary://test/client/d".parse().unwrap();
        let secret = authority.invite(&identity, SystemTime::now()).unwrap();
        let token = Token { address: small.joining.to_string(), root: authority.root(), secret };
        let folder = small.federation.path().join("d");
        let joining = join::member(&token, &folder);
        tokio::pin!(joining);
        let early = tokio::time::timeout(BEHIND, &mut joining).await;
        assert!(early.is_err(), "{early:?}");
        connection.close(0_u8.into(), b"");
        endpoint.wait_idle().await;
        assert_eq!(*joining.await.unwrap().identity(), identity);
    });
}

/// What goes wrong without it: whoever has one address keeps all devices out, or the processor busy.
#[test]
fn an_address_has_so_many_places_and_handshakes_at_the_port_for_joining() {
    let two = Rate { per_second: 1e-6, burst: 2 };
    let all = Limits::default();
    let leaves = [false, true, true];
    for (limits, leaves) in [
        Limits { joining_connections_per_address: 2, ..all },
        Limits { joins_per_address: two, ..all },
        Limits { joins: two, ..all },
    ]
    .into_iter()
    .zip(leaves)
    {
        runtime().block_on(async {
            let small = Small::new(limits);
            let devices = [small.device().await.unwrap(), small.device().await.unwrap()];
            // A place is free again when its device leaves, a handshake counts all the same.
            for (endpoint, connection) in devices.iter().filter(|_| leaves) {
                connection.close(0_u8.into(), b"");
                endpoint.wait_idle().await;
            }
            is_refused(small.device().await);
        });
    }
}

/// What goes wrong without it: one member has the authority sign and write without end, and the others wait for it.
#[test]
fn a_member_that_renews_without_end_is_refused_and_the_others_are_not() {
    runtime().block_on(async {
        let small = Small::new(Limits { renewals_per_half_life: 3, ..Limits::default() });
        let mut first = small.join("a").await;
        for _ in 0..3 {
            assert!(matches!(renew(&first).await, Answer::Certificate(_)));
        }
        // Another connection is the same member.
        first = small.join("a").await;
        let refused = renew(&first).await;
        assert!(matches!(&refused, Answer::Refused { reason } if reason.contains("renewed 3 times")), "{refused:?}");
        assert!(matches!(renew(&small.join("b").await).await, Answer::Certificate(_)));
        assert!(first.connection.close_reason().is_none(), "it may go on with the certificate that it has");
    });
}

async fn renew(liar: &Liar) -> Answer {
    let (mut send, mut recv) = liar.connection.open_bi().await.unwrap();
    let request = tributary_certs::enrolment::Request::new().unwrap();
    net::write_message(&mut send, &Request::Renew { request: request.pem().to_owned() }).await.unwrap();
    net::read_message(&mut recv).await.unwrap()
}

#[test]
fn a_connection_has_eight_streams_and_the_ninth_waits_for_one_to_end() {
    runtime().block_on(async {
        let small = Small::new(Limits::default());
        let liar = small.join("a").await;
        let request = Request::Get { digest: Digest([0; 32]), from: 0 };
        let frame = request.to_frame().unwrap().to_bytes();
        let mut streams = Vec::new();
        // One of the eight is for control.
        for _ in 0..7 {
            let (mut send, recv) = liar.connection.open_bi().await.unwrap();
            send.write_all(&frame[..1]).await.unwrap();
            streams.push((send, recv));
        }
        let ninth = liar.connection.open_bi();
        tokio::pin!(ninth);
        assert!(tokio::time::timeout(BEHIND, &mut ninth).await.is_err(), "a ninth stream is open");
        // Quinn tells of free places in steps of more than an eighth of all: of two.
        for (mut send, mut recv) in streams.drain(5..) {
            send.write_all(&frame[1..]).await.unwrap();
            send.finish().unwrap();
            assert!(matches!(net::read_message(&mut recv).await.unwrap(), Answer::Refused { .. }));
            drop(recv.read_to_end(0).await);
        }
        ninth.await.unwrap();
    });
}

/// What goes wrong without it: as many updates are under way as there are clients, and memory and disk take what they take.
#[test]
fn an_upload_beyond_the_budget_waits_until_another_has_ended() {
    runtime().block_on(async {
        let small = Small::of(Limits { upload_bytes: 1, ..Limits::default() }, 2, 50);
        let mut liars = [small.join("a").await, small.join("b").await];
        for liar in &mut liars {
            liar.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
        }
        let mut puts = Vec::new();
        for (liar, value) in liars.iter_mut().zip([1e-3, 2e-3]) {
            let offer = liar.offer().await;
            let (header, bytes) = liar.honest(&offer, value);
            let (mut send, mut recv) = liar.connection.open_bi().await.unwrap();
            net::write_message(&mut send, &Request::Put(Box::new(header))).await.unwrap();
            // Streams of two connections have no order: the second is announced once the first has its permit.
            if puts.is_empty() {
                assert_eq!(net::read_message::<Answer>(&mut recv).await.unwrap(), Answer::Permit { from: 0 });
            }
            puts.push((send, recv, bytes));
        }
        let [(first_send, _, first), (_, second_recv, _)] = &mut puts[..] else { unreachable!("two") };
        let waiting = net::read_message::<Answer>(second_recv);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(BEHIND, &mut waiting).await.is_err(), "two updates are under way");
        first_send.write_all(first).await.unwrap();
        first_send.finish().unwrap();
        assert_eq!(waiting.await.unwrap(), Answer::Permit { from: 0 });
    });
}

/// Trains as [`Still`], once it is told to.
struct Held(Still, std::sync::mpsc::Receiver<()>);

impl Worker for Held {
    fn prepare(&mut self, plan: &str) -> Result<Prepared, String> {
        self.0.prepare(plan)
    }

    fn train(&mut self, round: Round, model: &Parameters, watch: &mut dyn Watch) -> Result<Update, String> {
        self.1.recv().map_err(|error| error.to_string())?;
        self.0.train(round, model, watch)
    }

    fn evaluate(&mut self, model: &Parameters, watch: &mut dyn Watch) -> Result<Results, String> {
        self.0.evaluate(model, watch)
    }
}

/// What goes wrong without it: whoever waits for others for ten minutes is declined, and its finished update deleted.
#[test]
fn an_update_that_waits_too_long_for_its_permit_leaves_its_place_and_comes_again() {
    runtime().block_on(async {
        let small = Small::of(Limits { upload_bytes: 1, ..Limits::default() }, 2, 50);
        let mut liar = small.join("a").await;
        liar.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
        let (go, held) = std::sync::mpsc::channel();
        let (told, mut statuses) = tokio::sync::mpsc::channel(100);
        let settings = Settings {
            name: "b".parse().unwrap(),
            coordinator: small.address.clone(),
            device: "none".to_owned(),
            outbox: None,
            models: None,
            give_up_after: None,
            once: true,
            windows: Windows::default(),
            keep_alive: net::KEEP_ALIVE,
            idle: net::IDLE_TIMEOUT,
            permit_seconds: 1,
        };
        let member = Membership::fixed(Credentials::load(&small.federation.path().join("b")).unwrap());
        let mut agents = JoinSet::new();
        agents.spawn(async move {
            let worker = Held(Still::new(), held);
            let tell = |status| drop(told.try_send(status));
            agent::run(settings, member, worker, CancellationToken::new(), tell).await.unwrap();
        });
        let offer = liar.offer().await;
        let (header, bytes) = liar.honest(&offer, 1e-3);
        let (mut send, mut recv) = liar.connection.open_bi().await.unwrap();
        net::write_message(&mut send, &Request::Put(Box::new(header))).await.unwrap();
        assert_eq!(net::read_message::<Answer>(&mut recv).await.unwrap(), Answer::Permit { from: 0 });
        go.send(()).unwrap();
        let (mut is_postponed, mut is_resent) = (false, false);
        loop {
            match statuses.recv().await.unwrap() {
                Status::Postponed { reason, .. } if !is_postponed => {
                    assert!(reason.contains("did not answer within 1 s"), "{reason}");
                    is_postponed = true;
                    send.write_all(&bytes).await.unwrap();
                    send.finish().unwrap();
                }
                Status::Resent { .. } => is_resent = is_postponed,
                Status::Acknowledged { .. } => break,
                Status::Dropped { reason, .. } | Status::Refused { reason, .. } => panic!("it is dropped: {reason}"),
                _ => {}
            }
        }
        assert!(is_postponed && is_resent, "two updates were under way, and one came again");
        // Ends the worker too, should it wait for the next round.
        drop(go);
    });
}

/// What goes wrong without it: members that take no byte of one model after another hold all of them in the coordinator's
/// memory.
#[test]
fn whoever_does_not_take_a_model_that_is_over_is_sent_away() {
    runtime().block_on(async {
        let old_model = Duration::from_millis(100);
        let small = Small::new(Limits { old_model, ..Limits::default() });
        // Room for all that is said, and not for a model.
        let windows = Windows { stream_bytes: 2048, ..Windows::default() };
        let slow = Liar::connect_with(&small.federation, "b", &small.address, windows).await;
        let mut ann = small.join("a").await;
        ann.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
        let offer = ann.offer().await;
        let (mut send, mut recv) = slow.connection.open_bi().await.unwrap();
        net::write_message(&mut send, &Request::Get { digest: offer.model, from: 0 }).await.unwrap();
        let answer: Answer = net::read_message(&mut recv).await.unwrap();
        assert!(matches!(answer, Answer::Bytes { len } if len > 2048), "{answer:?}");
        // As long as it is served, it may take as long as it wants.
        tokio::time::sleep(3 * old_model).await;
        assert_eq!(slow.connection.close_reason(), None);
        ann.say(&ToCoordinator::Accept { ticket: offer.ticket }).await;
        let (put, bytes) = ann.honest(&offer, 1e-3);
        ann.put(put, &bytes).await;
        let next = ann.offer().await;
        ann.say(&ToCoordinator::Accept { ticket: next.ticket }).await;
        let (put, bytes) = ann.honest(&next, 1e-3);
        ann.put(put, &bytes).await;
        let closed = tokio::time::timeout(Duration::from_secs(30), slow.connection.closed()).await.unwrap();
        assert!(closed.to_string().contains("is over and still not taken"), "{closed}");
    });
}

#[test]
fn a_stranger_is_heard_no_further_than_its_bytes_in_flight() {
    runtime().block_on(async {
        let limits = Limits { stranger_bytes: 10_000, ..Limits::default() };
        let small = Small::new(limits);
        let (_endpoint, connection) = small.knock("a").await.unwrap();
        // The beginning of a `Hello`, which is read; nothing else is.
        let (mut hello, _) = connection.open_bi().await.unwrap();
        hello.write_all(&[9]).await.unwrap();
        let (mut streams, mut taken) = (Vec::new(), 1);
        for _ in 0..2 {
            let (mut send, recv) = connection.open_bi().await.unwrap();
            let write = async {
                while let Ok(count) = send.write(&[0; 1000]).await {
                    taken += count;
                }
            };
            drop(tokio::time::timeout(Duration::from_millis(300), write).await);
            streams.push((send, recv));
        }
        assert!((10_000..=10_001).contains(&taken), "all streams together: {taken}");
    });
}

/// Plays a run of one round whose only member then stays or leaves.
fn ends_with(linger: Duration, stays: bool) {
    runtime().block_on(async {
        let mut small = Small::of(Limits { linger, ..Limits::default() }, 1, 1);
        let mut ann = small.join("a").await;
        ann.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
        let offer = ann.offer().await;
        ann.say(&ToCoordinator::Accept { ticket: offer.ticket }).await;
        let (put, bytes) = ann.honest(&offer, 1e-3);
        ann.put(put, &bytes).await;
        ann.heard(offer.ticket).await;
        let _member = Some(ann).filter(|_| stays);
        let ended = tokio::time::timeout(Duration::from_secs(30), small.serving.join_next()).await;
        assert!(ended.is_ok(), "it lingers for ever");
    });
}

#[test]
fn a_coordinator_whose_run_is_over_ends_when_the_last_member_has_left_or_lingered_long_enough() {
    ends_with(Duration::from_secs(3600), false);
    ends_with(Duration::from_millis(100), true);
}
