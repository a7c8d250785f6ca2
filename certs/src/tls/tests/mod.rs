//! Handshakes in memory: members come in, everybody else stays out, and both sides learn the reason.

mod forge;
mod join;
mod old_versions;
mod revoked;
mod strangers;
mod two_roots;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::server::ServerSessionMemoryCache;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionCommon, Error as TlsError, HandshakeKind, NamedGroup,
    ProtocolVersion, ServerConfig, ServerConnection, SideData,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tributary_common::identity::{Identity, Role};

use super::{ALPN, CRYPTO_ERROR, client_config, refusal, server_config};
use crate::{Authority, Credentials};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// In the middle of 2033. The tests never ask the machine what time it is.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

#[derive(Debug)]
struct Stopped(SystemTime);

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap()))
    }
}

fn server(credentials: &Credentials) -> ServerConfig {
    let mut config = server_config(credentials, Arc::default()).unwrap();
    config.time_provider = Arc::new(Stopped(now()));
    config
}

fn client(credentials: &Credentials) -> ClientConfig {
    let mut config = client_config(credentials).unwrap();
    config.time_provider = Arc::new(Stopped(now()));
    config
}

/// Both ends after everything was said, and what went wrong on each.
struct Meeting {
    server: ServerConnection,
    client: ClientConnection,
    server_error: Option<TlsError>,
    client_error: Option<TlsError>,
}

fn deliver<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
    error: &mut Option<TlsError>,
) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() && error.is_none() {
        to.read_tls(&mut rest).unwrap();
        *error = to.process_new_packets().err();
    }
}

fn meet(server: ServerConfig, client: ClientConfig) -> Meeting {
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), "coordinator".try_into().unwrap()).unwrap();
    let (mut server_error, mut client_error) = (None, None);
    for _ in 0..8 {
        deliver(&mut client, &mut server, &mut server_error);
        deliver(&mut server, &mut client, &mut client_error);
    }
    Meeting { server, client, server_error, client_error }
}

impl Meeting {
    fn succeeded(&self) -> bool {
        let done = !self.server.is_handshaking() && !self.client.is_handshaking();
        done && self.server_error.is_none() && self.client_error.is_none()
    }
}

/// One side refused for `reason`; the other was told by `alert`; people on both sides get a sentence.
#[track_caller]
fn assert_refused(what: &str, by: Option<TlsError>, told: Option<TlsError>, (alert, reason): (AlertDescription, &str)) {
    let by = by.unwrap_or_else(|| panic!("{what}: got in"));
    assert!(by.to_string().contains(reason), "{what}: refused for another reason: {by}");
    assert_eq!(told, Some(TlsError::AlertReceived(alert)), "{what}");
    let code = CRYPTO_ERROR + u64::from(u8::from(alert));
    // QUIC carries the first side's words along with the alert; without them the alert alone still has a meaning.
    assert!(refusal(code, &by.to_string()).unwrap().contains(reason), "{what}");
    assert!(refusal(code, "").unwrap().contains("; hint: "), "{what}");
}

fn identity(federation: &str, role: Role, name: &str) -> Identity {
    Identity { federation: federation.to_owned(), role, name: name.parse().unwrap() }
}

#[test]
fn members_of_one_federation_meet_with_the_chosen_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path(), "north", now()).unwrap();
    let issue = |role| authority.issue(&identity("north", role, "ward-7"), DAY, now()).unwrap();
    let coordinator = issue(Role::Coordinator);
    for role in [Role::Client, Role::Evaluator] {
        let member = issue(role);
        let meeting = meet(server(&coordinator), client(&member));
        assert!(meeting.succeeded(), "{:?} {:?}", meeting.server_error, meeting.client_error);
        let Meeting { server, mut client, .. } = meeting;
        assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        assert_eq!(client.alpn_protocol(), Some(ALPN));
        assert_eq!(server.alpn_protocol(), Some(ALPN));
        assert_eq!(server.server_name(), None, "no name is shown on the way");
        assert_eq!(client.tls13_tickets_received(), 0);
        assert!(client.early_data().is_none());
        assert_eq!(crate::peer::identity(server.peer_certificates().unwrap()).unwrap(), *member.identity());
        assert_eq!(crate::peer::identity(client.peer_certificates().unwrap()).unwrap(), *coordinator.identity());
    }
}

#[test]
fn a_second_meeting_starts_from_nothing() {
    // A resumed session would skip the check of the certificate, also of one that has ended meanwhile.
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path(), "north", now()).unwrap();
    let issue = |role| authority.issue(&identity("north", role, "a"), DAY, now()).unwrap();
    let (server, client) = (server(&issue(Role::Coordinator)), client(&issue(Role::Client)));
    for _ in 0..2 {
        let meeting = meet(server.clone(), client.clone());
        assert!(meeting.succeeded());
        assert_eq!(meeting.server.handshake_kind(), Some(HandshakeKind::Full));
    }
    assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (0, 0));
    assert!(!server.session_storage.can_cache());
    assert!(!server.key_log.will_log("CLIENT_TRAFFIC_SECRET_0") && !client.key_log.will_log("CLIENT_TRAFFIC_SECRET_0"));
}

#[test]
fn clients_take_no_ticket_from_a_coordinator_that_offers_one() {
    let forge = forge::Forge::new("north");
    let mut generous = server(&forge.member(Role::Coordinator));
    generous.send_tls13_tickets = 2;
    generous.session_storage = ServerSessionMemoryCache::new(16);
    let client = client(&forge.member(Role::Client));
    for _ in 0..2 {
        let meeting = meet(generous.clone(), client.clone());
        assert!(meeting.succeeded());
        assert_eq!(meeting.client.handshake_kind(), Some(HandshakeKind::Full));
    }
}

/// A member's own certificate with one more behind it.
fn shown_with(member: &Credentials, more: &CertificateDer<'static>) -> Arc<SingleCertAndKey> {
    let chain = member.chain().iter().chain([more]).cloned().collect();
    Arc::new(SingleCertAndKey::from(super::certified_key(chain, member.key()).unwrap()))
}

#[test]
fn an_empty_chain_is_nobody() {
    let nobody: [CertificateDer<'_>; 0] = [];
    assert!(crate::peer::identity(&nobody).unwrap_err().to_string().contains("there is no certificate"));
    assert!(crate::peer::identity(&[CertificateDer::from(vec![0x30, 0x00])]).is_err());
}
