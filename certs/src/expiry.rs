//! When certificates end. There is no clock in here: whoever asks says what time it is.

use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;

/// The end of validity; none where it lies before 1970.
pub(crate) fn of(certificate: &X509Certificate<'_>) -> Option<SystemTime> {
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
