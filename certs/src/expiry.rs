//! When certificates begin and end. There is no clock in here: whoever asks says what time it is.

use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;
use x509_parser::time::ASN1Time;

/// The end of validity; none where it lies before 1970.
pub(crate) fn of(certificate: &X509Certificate<'_>) -> Option<SystemTime> {
    time(certificate.validity().not_after)
}

/// The beginning of validity; none where it lies before 1970.
pub(crate) fn begin(certificate: &X509Certificate<'_>) -> Option<SystemTime> {
    time(certificate.validity().not_before)
}

fn time(at: ASN1Time) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(at.timestamp()).ok()?))
}
