//! What a coordinator bears: each limit made so small that a test reaches it, with real connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Connection, ConnectionError, Endpoint, TransportErrorCode};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::{Credentials, RevocationFile, revocation, tls};
use tributary_common::config::Document;
use tributary_common::id::RunId;
use tributary_common::message::{Answer, Put, Ready, Request, ToClient, ToCoordinator};
use tributary_common::net::{self, Pace, Windows};
use tributary_coordinator::server::{Limits, Rate, Run, Server};
use tributary_coordinator::store::Memory;

use super::federation::Federation;
use super::hostile::Liar;

/// A coordinator in this process, with these limits; gone with the set.
struct Small {
    federation: Federation,
    address: String,
    _serving: JoinSet<()>,
}

impl Small {
    fn new(limits: Limits) -> Self {
        let federation = Federation::new();
        let file = federation.run_file(&[
            ("wait_for = 10", "wait_for = 1"),
            ("quorum = 10", "quorum = 1"),
            ("on = [\"train\", \"central\"]", "on = []"),
        ]);
        ["a", "b", "c"].into_iter().for_each(|name| federation.issue(name, "client"));
        let hub = federation.path().join("hub");
        let credentials = Credentials::load(&hub).unwrap();
        let revoked = RevocationFile::open(&hub.join(revocation::FILE), credentials.roots()).unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), &credentials, revoked, limits).unwrap();
        let address = server.address().unwrap().to_string();
        let document = Document::parse("run.toml", &std::fs::read_to_string(file).unwrap()).unwrap();
        let run = Run::new(RunId([7; 16]), &document, Arc::new(Memory)).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            server.serve(run, CancellationToken::new(), |_| {}).await.unwrap();
        });
        Self { federation, address, _serving: serving }
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
        let refused = self.knock(name).await.expect_err("the limit lets this one in");
        let ConnectionError::ConnectionClosed(close) = refused else { panic!("it ended otherwise: {refused}") };
        assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED);
    }

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
    let (second, all) = (Duration::from_secs(1), Limits::default());
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
