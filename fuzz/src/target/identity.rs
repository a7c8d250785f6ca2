//! Who a certificate is about: the certificate as DER, and the name in it as text.

use rustls_pki_types::CertificateDer;
use tributary_certs::peer;
use tributary_common::identity::Identity;

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "identity",
    help: "certificates of peers, and the one name in them",
    input_bytes_max: 16 * 1024,
    heap_bytes_max: 64 * 1024,
    // Names and extensions are parsed into lists; the smallest element takes two bytes.
    heap_bytes_per_byte: 128,
    run,
};

fn run(input: &[u8]) {
    let chain = [CertificateDer::from(input)];
    if let Ok(peer) = peer::of(&chain) {
        names_itself(&peer.identity);
    }
    if let Ok(identity) = String::from_utf8_lossy(input).parse::<Identity>() {
        names_itself(&identity);
    }
}

fn names_itself(identity: &Identity) {
    let text = identity.to_string();
    assert_eq!(text.parse::<Identity>().as_ref(), Ok(identity), "an identity has one form");
}
