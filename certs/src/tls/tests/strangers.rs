//! Who must stay out, in both directions: every row is shown by a client to a coordinator and by a coordinator to a client.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, SanType};
use rustls::AlertDescription::{
    self, AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateUnknown, DecryptError,
    NoApplicationProtocol, UnknownCA, UnsupportedCertificate,
};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tributary_common::identity::Role;

use super::forge::{Forge, Shown, dns, good_leaf, key, uri};
use super::{DAY, assert_refused, client, meet, now, server};

/// The leaf is signed by the right authority, and wrong in one thing.
struct BadLeaf {
    what: &'static str,
    told: (AlertDescription, &'static str),
    spoil: fn(&mut CertificateParams, Role),
}

const fn leaf(
    what: &'static str,
    alert: AlertDescription,
    reason: &'static str,
    spoil: fn(&mut CertificateParams, Role),
) -> BadLeaf {
    BadLeaf { what, told: (alert, reason), spoil }
}

/// The leaf's only name is `before`, the role, `after`.
fn rename(params: &mut CertificateParams, before: &str, role: Role, after: &str) {
    params.subject_alt_names = vec![uri(&format!("{before}{role}{after}"))];
}

const fn opposite(role: Role) -> Role {
    match role {
        Role::Coordinator => Role::Client,
        Role::Client | Role::Evaluator => Role::Coordinator,
    }
}

const NO_IDENTITY: &str = "not an identity";

const BAD_LEAVES: &[BadLeaf] = &[
    leaf("expired", CertificateExpired, "certificate expired", |p, _| p.not_after = (now() - DAY / 2).into()),
    leaf("not valid yet", CertificateExpired, "not valid yet", |p, _| p.not_before = (now() + DAY / 2).into()),
    leaf("usage of the other side", UnsupportedCertificate, "extended key usage", |p, role| {
        p.extended_key_usages = good_leaf(opposite(role)).extended_key_usages;
    }),
    leaf("usage for code", UnsupportedCertificate, "extended key usage", |p, _| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    }),
    leaf("an authority as leaf", CertificateUnknown, "CaUsedAsEndEntity", |p, _| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }),
    leaf("an unknown critical extension", CertificateUnknown, "UnsupportedCriticalExtension", |p, _| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        extension.set_criticality(true);
        p.custom_extensions = vec![extension];
    }),
    leaf("no name", CertificateUnknown, "no subject alternative name", |p, _| p.subject_alt_names.clear()),
    leaf("a name only in CN", CertificateUnknown, "no subject alternative name", |p, role| {
        p.subject_alt_names.clear();
        p.distinguished_name.push(DnType::CommonName, format!("tributary://north/{role}/a"));
    }),
    leaf("two names", CertificateUnknown, "2 subject alternative names", |p, role| {
        p.subject_alt_names.push(uri(&format!("tributary://north/{role}/b")));
    }),
    leaf("the same name twice", CertificateUnknown, "2 subject alternative names", |p, role| {
        p.subject_alt_names.push(uri(&format!("tributary://north/{role}/a")));
    }),
    leaf("a host name", CertificateUnknown, "is no URI", |p, _| p.subject_alt_names = vec![dns("coordinator")]),
    leaf("a wildcard host name", CertificateUnknown, "is no URI", |p, _| p.subject_alt_names = vec![dns("*.example")]),
    leaf("a host name beside it", CertificateUnknown, "2 subject alternative names", |p, _| {
        p.subject_alt_names.push(dns("coordinator"));
    }),
    leaf("an address", CertificateUnknown, "is no URI", |p, _| {
        p.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    }),
    leaf("a mail address", CertificateUnknown, "is no URI", |p, role| {
        let text = format!("tributary://north/{role}/a");
        p.subject_alt_names = vec![SanType::Rfc822Name(text.try_into().unwrap())];
    }),
    leaf("a wildcard for the name", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "tributary://north/", r, "/*")),
    leaf("a wildcard for the federation", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "tributary://*/", r, "/a")),
    leaf("a wildcard for the role", CertificateUnknown, NO_IDENTITY, |p, _| {
        p.subject_alt_names = vec![uri("tributary://north/*/a")];
    }),
    leaf("another federation", CertificateUnknown, "not of the federation `north`", |p, role| {
        rename(p, "tributary://south/", role, "/a");
    }),
    leaf("a longer federation", CertificateUnknown, "not of the federation `north`", |p, role| {
        rename(p, "tributary://north.evil/", role, "/a");
    }),
    leaf("another letter case", CertificateUnknown, "not of the federation `north`", |p, role| {
        rename(p, "tributary://North/", role, "/a");
    }),
    leaf("the role of the other side", CertificateUnknown, "/a` is no c", |p, role| {
        rename(p, "tributary://north/", opposite(role), "/a");
    }),
    leaf("an unknown role", CertificateUnknown, NO_IDENTITY, |p, _| {
        p.subject_alt_names = vec![uri("tributary://north/admin/a")];
    }),
    leaf("another scheme", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "spiffe://north/", r, "/a")),
    leaf("more behind the name", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "tributary://north/", r, "/a/b")),
    leaf("a query behind the name", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "tributary://north/", r, "/a?b")),
    leaf("a port", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "tributary://north:1/", r, "/a")),
    leaf("an escaped letter", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "tributary://north/", r, "/%61")),
    leaf("an empty name", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "tributary://north/", r, "/")),
    leaf("dots for a name", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "tributary://north/", r, "/..")),
    leaf("a name with a zero byte", CertificateUnknown, NO_IDENTITY, |p, r| rename(p, "tributary://north/", r, "/a\0")),
];

/// The authority that both sides of a meeting trust.
struct Trust {
    root: Forge,
    issuing: Forge,
}

impl Trust {
    fn new() -> Self {
        let root = Forge::root("north");
        let issuing = root.below("issuing authority", |_| {});
        Self { root, issuing }
    }
}

/// The leaf says the right things, and the wrong one vouches for it.
struct BadChain {
    what: &'static str,
    told: (AlertDescription, &'static str),
    show: fn(&Trust, Role) -> Shown,
}

const fn chain(
    what: &'static str,
    alert: AlertDescription,
    reason: &'static str,
    show: fn(&Trust, Role) -> Shown,
) -> BadChain {
    BadChain { what, told: (alert, reason), show }
}

const BAD_CHAINS: &[BadChain] = &[
    chain("another authority", UnknownCA, "UnknownIssuer", |_, role| Forge::new("south").leaf(&good_leaf(role))),
    chain("an authority made again under the same name", UnknownCA, "UnknownIssuer", |_, role| {
        Forge::new("north").leaf(&good_leaf(role))
    }),
    chain("its own authority", UnknownCA, "UnknownIssuer", |_, role| {
        let key = key();
        let leaf = good_leaf(role).self_signed(&key).unwrap();
        Shown { chain: vec![leaf.der().clone()], key }
    }),
    chain("its own authority before ours", UnknownCA, "UnknownIssuer", |trust, role| {
        let mut shown = trust.issuing.leaf(&good_leaf(role));
        let leaf = good_leaf(role).self_signed(&shown.key).unwrap();
        shown.chain[0] = leaf.der().clone();
        shown
    }),
    chain("no issuing authority", UnknownCA, "UnknownIssuer", |trust, role| {
        let mut shown = trust.issuing.leaf(&good_leaf(role));
        shown.chain.truncate(1);
        shown
    }),
    chain("a swapped issuing key", UnknownCA, "UnknownIssuer", |trust, role| {
        trust.root.below("elsewhere", |_| {}).with_swapped_key().leaf(&good_leaf(role))
    }),
    chain("a changed byte in the signature", UnknownCA, "UnknownIssuer", |trust, role| {
        let mut shown = trust.issuing.leaf(&good_leaf(role));
        let mut bytes = shown.chain[0].to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        shown.chain[0] = bytes.into();
        shown
    }),
    chain("a path that is too long", CertificateUnknown, "PathLenConstraintViolated", |trust, role| {
        trust.issuing.below("deeper", |_| {}).leaf(&good_leaf(role))
    }),
    chain("a member as authority", CertificateUnknown, "EndEntityUsedAsCa", |trust, role| {
        trust.issuing.below("a member", |params| params.is_ca = IsCa::ExplicitNoCa).leaf(&good_leaf(role))
    }),
    chain("an issuing authority as peer", CertificateUnknown, "CaUsedAsEndEntity", |trust, _| {
        trust.root.below("elsewhere", |_| {}).itself()
    }),
    chain("an expired authority", CertificateExpired, "certificate expired", |trust, role| {
        let expired = trust.root.below("elsewhere", |params| params.not_after = (now() - DAY / 2).into());
        expired.leaf(&good_leaf(role))
    }),
    chain("an authority that is not valid yet", CertificateExpired, "not valid yet", |trust, role| {
        let early = trust.root.below("elsewhere", |params| params.not_before = (now() + DAY / 2).into());
        early.leaf(&good_leaf(role))
    }),
    chain(
        "an authority that may not sign for this side",
        UnsupportedCertificate,
        "extended key usage",
        |trust, role| {
            let usages = good_leaf(opposite(role)).extended_key_usages;
            trust.root.below("elsewhere", |params| params.extended_key_usages = usages).leaf(&good_leaf(role))
        },
    ),
    chain("bytes that are no certificate", BadCertificate, "BadEncoding", |trust, role| {
        let mut shown = trust.issuing.leaf(&good_leaf(role));
        shown.chain[0] = vec![0x30, 0x03, 1, 2, 3].into();
        shown
    }),
    chain("somebody else's private key", DecryptError, "BadSignature", |trust, role| Shown {
        key: key(),
        ..trust.issuing.leaf(&good_leaf(role))
    }),
];

/// `shown` instead of a client's or a coordinator's own certificate; everything else is as it should be.
fn show(forge: &Forge, role: Role, shown: Shown, (what, told): (&str, (AlertDescription, &str))) {
    let shown = Arc::new(SingleCertAndKey::from(shown.certified_key()));
    let mut server = server(&forge.member(Role::Coordinator));
    let mut client = client(&forge.member(Role::Client));
    if role == Role::Coordinator {
        server.cert_resolver = shown;
        let meeting = meet(server, client);
        assert!(!meeting.succeeded());
        assert_refused(&format!("coordinator: {what}"), meeting.client_error, meeting.server_error, told);
    } else {
        client.client_auth_cert_resolver = shown;
        let meeting = meet(server, client);
        assert!(!meeting.succeeded());
        assert_refused(&format!("{role}: {what}"), meeting.server_error, meeting.client_error, told);
    }
}

#[test]
fn strangers_with_a_bad_leaf_stay_out_for_the_right_reason() {
    let forge = Forge::new("north");
    for bad in BAD_LEAVES {
        for role in Role::ALL {
            let mut params = good_leaf(role);
            (bad.spoil)(&mut params, role);
            show(&forge, role, forge.leaf(&params), (bad.what, bad.told));
        }
    }
}

#[test]
fn strangers_with_a_bad_chain_stay_out_for_the_right_reason() {
    let trust = Trust::new();
    for bad in BAD_CHAINS {
        for role in Role::ALL {
            show(&trust.issuing, role, (bad.show)(&trust, role), (bad.what, bad.told));
        }
    }
}

#[test]
fn the_forge_makes_good_certificates_when_nothing_is_spoilt() {
    // Else the tables above could pass because of a mistake in the forge.
    let forge = Forge::new("north");
    for role in [Role::Client, Role::Evaluator] {
        assert!(meet(server(&forge.member(Role::Coordinator)), client(&forge.member(role))).succeeded());
    }
}

#[test]
fn members_cannot_play_the_other_side() {
    let forge = Forge::new("north");
    let usage = (UnsupportedCertificate, "extended key usage");
    for role in [Role::Client, Role::Evaluator] {
        let meeting = meet(server(&forge.member(role)), client(&forge.member(Role::Client)));
        assert_refused("a member as coordinator", meeting.client_error, meeting.server_error, usage);
    }
    let coordinator = forge.member(Role::Coordinator);
    let meeting = meet(server(&coordinator), client(&coordinator));
    assert_refused("a coordinator as client", meeting.server_error, meeting.client_error, usage);
}

#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn clients_without_a_certificate_stay_out() {
    let forge = Forge::new("north");
    let mut nobody = client(&forge.member(Role::Client));
    nobody.client_auth_cert_resolver = Arc::new(Nobody);
    let meeting = meet(server(&forge.member(Role::Coordinator)), nobody);
    let told = (CertificateRequired, "peer sent no certificates");
    assert_refused("no certificate", meeting.server_error, meeting.client_error, told);
}

#[test]
fn other_protocols_stay_out() {
    let forge = Forge::new("north");
    for protocols in [vec![b"tributary/0".to_vec()], vec![b"h3".to_vec()]] {
        let mut other = client(&forge.member(Role::Client));
        other.alpn_protocols = protocols;
        let meeting = meet(server(&forge.member(Role::Coordinator)), other);
        let told = (NoApplicationProtocol, "peer doesn't support any known protocol");
        assert_refused("another protocol", meeting.server_error, meeting.client_error, told);
    }
}

#[test]
fn a_missing_permission_has_a_meaning_too() {
    let code = super::CRYPTO_ERROR + u64::from(u8::from(AccessDenied));
    assert!(super::refusal(code, "").unwrap().contains("may not enter"));
}
