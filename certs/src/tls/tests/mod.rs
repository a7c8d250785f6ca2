//! Handshakes in memory: members come in, everybody else stays out, for the right reason.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, NamedGroup, ServerConfig,
    ServerConnection, SideData,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tributary_common::identity::Role;

use super::{ALPN, client_config, server_config};
use crate::{Authority, Credentials};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[expect(clippy::disallowed_methods, reason = "certificates are checked against the machine's clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn federation(federation: &str) -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path(), federation, now()).unwrap();
    (folder, authority)
}

fn issue(authority: &Authority, role: Role, name: &str) -> Credentials {
    authority.issue(role, name, DAY, now()).unwrap()
}

fn pump<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// Both ends after a handshake, or the error of the side that refused first.
fn handshake(
    server: ServerConfig,
    client: ClientConfig,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), "coordinator".try_into().unwrap()).unwrap();
    for _ in 0..8 {
        pump(&mut client, &mut server)?;
        pump(&mut server, &mut client)?;
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok((server, client))
}

#[test]
fn members_of_one_federation_meet_with_the_chosen_parameters() {
    let (_folder, authority) = federation("north");
    let coordinator = issue(&authority, Role::Coordinator, "hub");
    for role in [Role::Client, Role::Evaluator] {
        let member = issue(&authority, role, "ward-7");
        let (server, client) =
            handshake(server_config(&coordinator).unwrap(), client_config(&member).unwrap()).unwrap();
        assert_eq!(server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        assert_eq!(client.alpn_protocol(), Some(ALPN));
        assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        let seen = crate::peer::identity(&server.peer_certificates().unwrap()[0]).unwrap();
        assert_eq!(seen, *member.identity());
        assert_eq!(client.tls13_tickets_received(), 0);
    }
}

#[test]
fn credentials_survive_their_folder_and_show_no_key() {
    let (folder, authority) = federation("north");
    let member = issue(&authority, Role::Client, "a");
    let path = folder.path().join("identities/a");
    member.save(&path).unwrap();
    let loaded = Credentials::load(&path).unwrap();
    assert_eq!(loaded.identity(), member.identity());
    assert_eq!(format!("{loaded:?}"), "Credentials(tributary://north/client/a)");
    let left = loaded.valid_for(now()).unwrap();
    assert!(left <= DAY && left > DAY - Duration::from_secs(60));
    assert_eq!(loaded.valid_for(now() + DAY + DAY), None);
    assert_eq!(crate::describe(&path).unwrap().len(), 3);
    assert!(Authority::create(folder.path(), "north", now()).is_err(), "an authority is never overwritten");
}

#[test]
fn a_request_gives_its_key_and_nothing_else() {
    let (_folder, authority) = federation("north");
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut wish = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let request = wish.serialize_request(&key).unwrap().pem().unwrap();
    let chain = authority.issue_for_request(&request, Role::Client, "a", DAY, now()).unwrap();
    let root = issue(&authority, Role::Client, "b");
    let credentials = Credentials::from_pem(&chain, &key.serialize_pem(), &root.root_pem()).unwrap();
    assert_eq!(credentials.identity().to_string(), "tributary://north/client/a");
    let (_, leaf) = x509_parser::parse_x509_certificate(&credentials.chain()[0]).unwrap();
    assert!(!leaf.is_ca());
    assert!(authority.issue_for_request("nonsense", Role::Client, "a", DAY, now()).is_err());
}

/// A signing authority whose leaves are made wrong on purpose.
struct Forge {
    root: String,
    /// The certificates between leaf and root.
    above: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Forge {
    fn named(federation: &str) -> Self {
        let root_key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let root_params = authority(&format!("{federation} root"), 1);
        let root = root_params.self_signed(&root_key).unwrap();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let params = authority(&format!("{federation} issuing"), 0);
        let issuing = params.signed_by(&key, &Issuer::from_params(&root_params, &root_key)).unwrap();
        Self { root: root.pem(), above: issuing.pem(), issuer: Issuer::new(params, key) }
    }

    fn new() -> Self {
        Self::named("north")
    }

    /// A forge whose authority was certified by this one's.
    fn below(&self, is_ca: bool) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = authority("deeper", 0);
        if !is_ca {
            params.is_ca = IsCa::ExplicitNoCa;
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let above = format!("{}{}", certificate.pem(), self.above);
        Self { root: self.root.clone(), above, issuer: Issuer::new(params, key) }
    }

    /// PEM of chain and key; the caller spoils the parameters of a good leaf first.
    fn leaf(&self, uri: &str, spoil: impl FnOnce(&mut CertificateParams)) -> (String, KeyPair) {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let usage = if uri.contains("/coordinator/") {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        };
        params.extended_key_usages = vec![usage];
        params.not_before = (now() - DAY).into();
        params.not_after = (now() + DAY).into();
        spoil(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        (format!("{}{}", leaf.pem(), self.above), key)
    }

    /// Credentials that lie: what is presented is not what a good issuer would have made.
    fn credentials(&self, uri: &str, spoil: impl FnOnce(&mut CertificateParams)) -> Credentials {
        let (chain, key) = self.leaf(uri, spoil);
        let good = self.leaf("tributary://north/client/a", |_| {});
        let mut credentials = Credentials::from_pem(&good.0, &good.1.serialize_pem(), &self.root).unwrap();
        credentials.present(&chain, &key.serialize_pem());
        credentials
    }

    fn coordinator(&self) -> Credentials {
        let (chain, key) = self.leaf("tributary://north/coordinator/hub", |_| {});
        Credentials::from_pem(&chain, &key.serialize_pem(), &self.root).unwrap()
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

type Spoil = fn(&mut CertificateParams);

/// What goes wrong without it: anybody with some certificate gets in.
const BAD_CLIENTS: &[(&str, &str, Spoil)] = &[
    ("expired", "Expired", |p| p.not_after = (now() - DAY / 2).into()),
    ("not valid yet", "NotValidYet", |p| p.not_before = (now() + DAY / 2).into()),
    ("usage of a server", "InvalidPurpose", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
    ("usage for code", "InvalidPurpose", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]),
    ("an authority as leaf", "CaUsedAsEndEntity", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
    ("no name", "ApplicationVerificationFailure", |p| p.subject_alt_names.clear()),
    ("name only in CN", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names.clear();
        p.distinguished_name.push(DnType::CommonName, "tributary://north/client/a");
    }),
    ("two names", "ApplicationVerificationFailure", |p| p.subject_alt_names.push(uri("tributary://north/client/b"))),
    ("the same name twice", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names.push(uri("tributary://north/client/a"));
    }),
    ("a host name", "ApplicationVerificationFailure", |p| p.subject_alt_names = vec![dns("a.north.example")]),
    ("a host name beside it", "ApplicationVerificationFailure", |p| p.subject_alt_names.push(dns("a.example"))),
    ("an address", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    }),
    ("a wildcard name", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://north/client/*")];
    }),
    ("a wildcard federation", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://*/client/a")];
    }),
    ("another federation", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://south/client/a")];
    }),
    ("a longer federation", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://north.evil/client/a")];
    }),
    ("another letter case", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://North/client/a")];
    }),
    ("role of a coordinator", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://north/coordinator/a")];
    }),
    ("an unknown role", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://north/admin/a")];
    }),
    ("another scheme", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("spiffe://north/client/a")];
    }),
    ("a path behind the name", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://north/client/a/b")];
    }),
    ("a query behind the name", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://north/client/a?role=coordinator")];
    }),
    ("an empty name", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://north/client/")];
    }),
    ("dots for a name", "ApplicationVerificationFailure", |p| {
        p.subject_alt_names = vec![uri("tributary://north/client/..")];
    }),
];

#[test]
fn bad_client_certificates_stay_out_for_the_right_reason() {
    let forge = Forge::new();
    let server = || server_config(&forge.coordinator()).unwrap();
    let good = forge.credentials("tributary://north/client/a", |_| {});
    handshake(server(), client_config(&good).unwrap()).unwrap();
    for (what, reason, spoil) in BAD_CLIENTS {
        let bad = forge.credentials("tributary://north/client/a", spoil);
        let error = handshake(server(), client_config(&bad).unwrap()).unwrap_err();
        assert!(format!("{error:?}").contains(reason), "{what}: {error:?}");
    }
}

#[test]
fn bad_chains_stay_out() {
    let forge = Forge::new();
    let server = || server_config(&forge.coordinator()).unwrap();
    let south = Forge::named("south");
    let foreign = trusting(&south.credentials("tributary://north/client/a", |_| {}));
    let error = handshake(server(), foreign).unwrap_err();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    let namesake = trusting(&Forge::new().credentials("tributary://north/client/a", |_| {}));
    let error = handshake(server(), namesake).unwrap_err();
    assert!(format!("{error:?}").contains("BadSignature"), "{error:?}");

    let nobody = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    let error = handshake(server(), with_alpn(nobody)).unwrap_err();
    assert!(format!("{error:?}").contains("NoCertificatesPresented"), "{error:?}");

    let mut alone = forge.credentials("tributary://north/client/a", |_| {});
    alone.forget_issuer();
    let error = handshake(server(), trusting(&alone)).unwrap_err();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");

    // The issuing authority has path length 0: what it certifies may certify nothing, whatever it claims to be.
    for deeper_is_ca in [true, false] {
        let deeper = forge.below(deeper_is_ca);
        let member = deeper.credentials("tributary://north/client/a", |_| {});
        assert!(handshake(server(), trusting(&member)).is_err(), "{deeper_is_ca}");
    }
}

#[test]
fn other_protocols_stay_out() {
    let forge = Forge::new();
    let mut other = client_config(&forge.credentials("tributary://north/client/a", |_| {})).unwrap();
    other.alpn_protocols = vec![b"tributary/0".to_vec()];
    let error = handshake(server_config(&forge.coordinator()).unwrap(), other).unwrap_err();
    assert!(format!("{error:?}").contains("NoApplicationProtocol"), "{error:?}");
}

/// A client that trusts every coordinator, so that only its own certificate is judged.
fn trusting(credentials: &Credentials) -> ClientConfig {
    let mut config = client_config(credentials).unwrap();
    config.dangerous().set_certificate_verifier(Arc::new(AnyServer));
    config
}

fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        super::provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn clients_refuse_everybody_but_their_coordinator() {
    let forge = Forge::new();
    let member = forge.credentials("tributary://north/client/a", |_| {});
    let bad: &[(&str, &str, Spoil)] = &[
        ("a client that serves", "ApplicationVerificationFailure", |p| {
            p.subject_alt_names = vec![uri("tributary://north/client/b")];
        }),
        ("another federation", "ApplicationVerificationFailure", |p| {
            p.subject_alt_names = vec![uri("tributary://south/coordinator/hub")];
        }),
        ("usage of a client", "InvalidPurpose", |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
        ("expired", "Expired", |p| p.not_after = (now() - DAY / 2).into()),
        ("a host name", "ApplicationVerificationFailure", |p| p.subject_alt_names = vec![dns("coordinator")]),
    ];
    for (what, reason, spoil) in bad {
        let server = forge.credentials("tributary://north/coordinator/hub", spoil);
        let error = handshake(server_config(&server).unwrap(), client_config(&member).unwrap()).unwrap_err();
        assert!(format!("{error:?}").contains(reason), "{what}: {error:?}");
    }
    let foreign = server_config(&Forge::named("south").coordinator()).unwrap();
    let error = handshake(foreign, client_config(&member).unwrap()).unwrap_err();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
}
