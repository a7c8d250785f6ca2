//! Who a certificate says a peer is: the one place where names are matched, after the chain was verified.

use rustls_pki_types::CertificateDer;
use tributary_common::identity::Identity;
use x509_parser::extensions::GeneralName;

use crate::Error;

/// The identity in `certificate`: its only subject alternative name, of type URI, in the exact form.
///
/// # Errors
/// There is none, more than one, one of another type, or one that is no identity.
pub fn identity(certificate: &CertificateDer<'_>) -> Result<Identity, Error> {
    let refuse = |why: &str| Error::NoIdentity(why.to_owned());
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
