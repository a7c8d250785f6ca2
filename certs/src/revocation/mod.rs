//! Certificates that were taken back: a list that the issuing authority signs (an X.509 CRL), and what keeps it in use.
//!
//! The list knows serial numbers, not names: a member whose certificate was stolen gets a new one under the same name. The
//! date of the next update stands in the list because RFC 5280 asks for it and is not looked at: an old list still
//! names those who must stay out, and refusing everybody because nobody signed it again would let an operator's holiday
//! stop a run.

mod file;
mod issue;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use tributary_common::Digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

pub use file::{FILE, RevocationFile, install};
pub use issue::Revoked;

use crate::serial::Serial;

/// The serial numbers that trusted authorities took back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationList {
    serials: BTreeSet<Serial>,
    /// The number of each authority's list, by the authority's certificate: a later list has a larger one.
    numbers: BTreeMap<Digest, u64>,
}

impl RevocationList {
    /// Reads a list: the issuing authority's certificate and its CRL, both in PEM; more of both where a federation changes
    /// its root. Nothing counts that does not lead to one of `roots`.
    ///
    /// # Errors
    /// Why the text is no such list.
    pub(crate) fn parse(pem: &str, roots: &[CertificateDer<'_>]) -> Result<Self, String> {
        let authorities: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        if lists.is_empty() {
            return Err("it holds no list of revoked certificates".to_owned());
        }
        let trusted: Vec<_> = authorities.iter().filter(|authority| may_revoke(authority, roots)).collect();
        let mut whole = Self::default();
        for list in lists {
            let (rest, list) = CertificateRevocationList::from_der(&list).map_err(|error| error.to_string())?;
            if !rest.is_empty() {
                return Err("bytes follow the list".to_owned());
            }
            let issuer = trusted
                .iter()
                .find(|authority| is_signed_by(&list, authority))
                .ok_or("no authority that is trusted here signed it")?;
            whole.add(Digest::of(issuer), &list)?;
        }
        Ok(whole)
    }

    fn add(&mut self, issuer: Digest, list: &CertificateRevocationList<'_>) -> Result<(), String> {
        let number = list.crl_number().map_or_else(Vec::new, |number| number.to_u64_digits());
        let number = match number[..] {
            [] => 0,
            [number] => number,
            _ => return Err("its number is larger than 64 bits".to_owned()),
        };
        for revoked in list.iter_revoked_certificates() {
            let serial = Serial::from_bytes(revoked.raw_serial()).ok_or("a serial number in it is too long")?;
            self.serials.insert(serial);
        }
        let held = self.numbers.entry(issuer).or_default();
        *held = number.max(*held);
        Ok(())
    }

    /// Certificates that were taken back.
    #[must_use]
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether nothing was taken back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.serials.is_empty()
    }

    /// Whether an authority's list in `other` is missing here, or has a smaller number here.
    fn is_older_than(&self, other: &Self) -> bool {
        other.numbers.iter().any(|(issuer, number)| self.numbers.get(issuer).is_none_or(|ours| ours < number))
    }
}

/// Whether a certificate is that of an authority under one of `roots` that may sign such lists.
fn may_revoke(authority: &CertificateDer<'_>, roots: &[CertificateDer<'_>]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(authority) else { return false };
    let signs_lists = parsed.key_usage().ok().flatten().is_some_and(|usage| usage.value.crl_sign());
    let is_vouched_for = |root: &CertificateDer<'_>| {
        X509Certificate::from_der(root).is_ok_and(|(_, root)| parsed.verify_signature(Some(root.public_key())).is_ok())
    };
    parsed.is_ca() && signs_lists && roots.iter().any(is_vouched_for)
}

fn is_signed_by(list: &CertificateRevocationList<'_>, authority: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(authority).is_ok_and(|(_, authority)| {
        list.issuer().as_raw() == authority.subject().as_raw() && list.verify_signature(authority.public_key()).is_ok()
    })
}

/// The list in use, shared by everything that asks: handshakes, sessions, the driver. A newer one takes its place while
/// they run.
#[derive(Debug, Default)]
pub struct Revocations(RwLock<Arc<RevocationList>>);

impl Revocations {
    /// Whether this serial number was taken back.
    #[must_use]
    pub fn holds(&self, serial: &Serial) -> bool {
        self.list().serials.contains(serial)
    }

    /// The list in use.
    #[must_use]
    pub fn list(&self) -> Arc<RevocationList> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, list: RevocationList) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
    }
}
