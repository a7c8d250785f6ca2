//! Who a certificate says a peer is: the one place where names are matched, after the chain was verified.

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use tributary_common::identity::Identity;
use x509_parser::extensions::GeneralName;

use crate::{Error, Serial, expiry};

/// What the certificate of a peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub identity: Identity,
    /// By this a list of revoked certificates knows it.
    pub serial: Serial,
    /// When it ends.
    pub expires: SystemTime,
}

/// The peer that a chain (leaf first) stands for; see [`identity`].
///
/// # Errors
/// As [`identity`].
pub fn of(chain: &[CertificateDer<'_>]) -> Result<Peer, Error> {
    let identity = identity(chain)?;
    let refuse = |why: &str| Error::NoIdentity(why.to_owned());
    let leaf = chain.first().ok_or_else(|| refuse("there is no certificate"))?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|error| Error::NoIdentity(error.to_string()))?;
    let expires = expiry::of(&parsed).ok_or_else(|| refuse("its validity ends before 1970"))?;
    Ok(Peer { identity, serial: Serial::of(leaf)?, expires })
}

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
