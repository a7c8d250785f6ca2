//! A device that knows nothing but a fingerprint: it talks to the coordinator under that root and to nobody else.

use std::sync::Arc;

use rustls::AlertDescription::{CertificateUnknown, NoApplicationProtocol, UnsupportedCertificate};
use rustls::{ClientConfig, ServerConfig};
use tributary_common::Digest;
use tributary_common::identity::Role;

use super::forge::Forge;
use super::{Stopped, assert_refused, client, meet, now, server};
use crate::Credentials;
use crate::tls::{join_client_config, join_server_config};

fn desk(credentials: &Credentials) -> ServerConfig {
    let mut config = join_server_config(credentials).unwrap();
    config.time_provider = Arc::new(Stopped(now()));
    config
}

fn device(root: Digest) -> ClientConfig {
    let mut config = join_client_config(root).unwrap();
    config.time_provider = Arc::new(Stopped(now()));
    config
}

fn fingerprint(credentials: &Credentials) -> Digest {
    Digest::of(&credentials.roots()[0])
}

#[test]
fn a_device_meets_the_coordinator_under_the_root_of_its_token_alone() {
    let (north, south) = (Forge::new("north"), Forge::new("south"));
    let coordinator = north.member(Role::Coordinator);
    let meeting = meet(desk(&coordinator), device(fingerprint(&coordinator)));
    assert!(meeting.succeeded(), "{:?} {:?}", meeting.server_error, meeting.client_error);
    assert!(meeting.client.peer_certificates().unwrap().contains(&coordinator.roots()[0]), "the root comes along");

    // An impostor that sends our root along stands under its own all the same.
    let told = (CertificateUnknown, "no root with the fingerprint");
    let meeting = meet(desk(&south.member(Role::Coordinator)), device(fingerprint(&coordinator)));
    assert_refused("another root", meeting.client_error, meeting.server_error, told);
    let impostor = south.member(Role::Coordinator);
    let chain = crate::tls::tests::shown_with(&impostor, &coordinator.roots()[0]);
    let mut config = desk(&impostor);
    config.cert_resolver = chain;
    let meeting = meet(config, device(fingerprint(&coordinator)));
    assert!(!meeting.succeeded());

    let usage = (UnsupportedCertificate, "extended key usage");
    let meeting = meet(desk(&north.member(Role::Client)), device(fingerprint(&coordinator)));
    assert_refused("a member as coordinator", meeting.client_error, meeting.server_error, usage);
}

#[test]
fn the_two_ports_are_not_mixed_up() {
    let forge = Forge::new("north");
    let coordinator = forge.member(Role::Coordinator);
    let told = (NoApplicationProtocol, "peer doesn't support any known protocol");
    // Nobody without a certificate at the members' port, nobody's certificate is asked for at the other.
    let meeting = meet(server(&coordinator), device(fingerprint(&coordinator)));
    assert_refused("a stranger at the members' port", meeting.server_error, meeting.client_error, told);
    let meeting = meet(desk(&coordinator), client(&forge.member(Role::Client)));
    assert_refused("a member at the strangers' port", meeting.server_error, meeting.client_error, told);
}
