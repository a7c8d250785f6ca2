//! The roots that a member trusts: one, or two while a federation changes its root.
//!
//! The change has no gap: the new root is added to every bundle while the old authority still issues, then members get
//! certificates of the new one, then the old root goes.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::tls;

/// The most roots in a bundle: the old one and the new one.
const ROOTS_MAX: usize = 2;

/// The roots in a PEM text.
pub(crate) fn parse(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let roots: Vec<_> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    match roots.len() {
        0 => Err("it holds no certificate".to_owned()),
        1..=ROOTS_MAX => {
            tls::roots(&roots).map_err(|error| error.to_string())?;
            Ok(roots)
        }
        more => Err(format!("it holds {more} certificates, at most {ROOTS_MAX} roots are trusted at a time")),
    }
}
