//! Peers that speak TLS 1.2 only. Our TLS library is built without it, so their first flights are written by hand.

use std::sync::Arc;

use rustls::{ClientConnection, ServerConnection};
use tributary_common::identity::Role;

use super::forge::Forge;
use super::{client, server};

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const TLS12: [u8; 2] = [3, 3];

/// `body` behind its length in `bytes` bytes.
fn sized(bytes: usize, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u64).to_be_bytes()[8 - bytes..], body].concat()
}

fn record(message: u8, body: &[u8]) -> Vec<u8> {
    let message = [vec![message], sized(3, body)].concat();
    [vec![HANDSHAKE], TLS12.to_vec(), sized(2, &message)].concat()
}

fn extension(number: u8, body: &[u8]) -> Vec<u8> {
    [vec![0, number], sized(2, body)].concat()
}

#[test]
fn a_client_of_tls_1_2_is_refused() {
    let suites = sized(2, &[0xc0, 0x2b, 0xc0, 0x2c, 0xcc, 0xa9]);
    let groups = extension(10, &sized(2, &[0x00, 0x1d, 0x00, 0x17]));
    let signatures = extension(13, &sized(2, &[0x04, 0x03, 0x08, 0x07]));
    let points = extension(11, &sized(1, &[0]));
    let extensions = sized(2, &[groups, signatures, points].concat());
    let body = [TLS12.to_vec(), vec![7; 32], sized(1, &[]), suites, sized(1, &[0]), extensions].concat();

    let config = server(&Forge::new("north").member(Role::Coordinator));
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    server.read_tls(&mut record(CLIENT_HELLO, &body).as_slice()).unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert!(error.to_string().contains("SupportedVersionsExtensionRequired"), "{error}");
    let mut answer = Vec::new();
    server.write_tls(&mut answer).unwrap();
    assert_eq!((answer[0], &answer[5..]), (ALERT, [2, 70].as_slice()), "fatal, protocol_version");
}

#[test]
fn a_coordinator_of_tls_1_2_is_refused() {
    let body = [TLS12.to_vec(), vec![7; 32], sized(1, &[]), vec![0xc0, 0x2b], vec![0]].concat();
    let config = client(&Forge::new("north").member(Role::Client));
    let mut client = ClientConnection::new(Arc::new(config), "coordinator".try_into().unwrap()).unwrap();
    client.write_tls(&mut Vec::new()).unwrap();
    client.read_tls(&mut record(SERVER_HELLO, &body).as_slice()).unwrap();
    let error = client.process_new_packets().unwrap_err();
    assert!(error.to_string().contains("Tls"), "{error}");
    assert!(client.is_handshaking());
}
