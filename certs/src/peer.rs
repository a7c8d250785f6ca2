//! Who a certificate says a peer is: the one place where names are matched, after the chain was verified.

use rustls_pki_types::CertificateDer;
use tributary_common::identity::Identity;
use x509_parser::extensions::GeneralName;

use crate::Error;

/// The identity that a chain (leaf first) stands for: the leaf's only subject alternative name, of type URI, in the exact
/// form. Names in the subject count for nothing.
///
/// This says who a certificate is about, not whether to believe it: ask it of chains that a handshake has verified.
///
/// # Errors
/// There is no certificate, no such name, more than one, one of another type, or one that is no identity.
pub fn identity(chain: &[CertificateDer<'_>]) -> Result<Identity, Error> {
    let refuse = |why: &str| Error::NoIdentity(why.to_owned());
    let certificate = chain.first().ok_or_else(|| refuse("there is no certificate"))?;
    let (rest, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|error| Error::NoIdentity(error.to_string()))?;
    if !rest.is_empty() {
        return Err(refuse("bytes follow the certificate"));
    }
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| Error::NoIdentity(error.to_string()))?
        .ok_or_else(|| refuse("it has no subject alternative name"))?;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => uri.parse().map_err(|error| Error::NoIdentity(format!("{error}"))),
        [_] => Err(refuse("its subject alternative name is no URI")),
        names => Err(Error::NoIdentity(format!("it has {} subject alternative names, one is wanted", names.len()))),
    }
}
