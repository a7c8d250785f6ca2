//! Serial numbers: what a list of revoked certificates knows a certificate by.

use std::fmt;

use rcgen::SerialNumber;
use rustls_pki_types::CertificateDer;

use crate::{Error, tls};

/// Length of our serial numbers: RFC 5280, section 4.1.2.2, allows 20 bytes and CA/B rules ask for at least 64 random bits.
const BYTES: usize = 16;

/// The most bytes that a serial number may have (RFC 5280, section 4.1.2.2), and one for the sign.
const BYTES_MAX: usize = 21;

/// A certificate's serial number, as it is encoded. Ours are random and never given twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(Box<[u8]>);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serial {
    /// A random serial number: positive, always of the same length, and never the same for a key that is certified again.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; BYTES];
        tls::fill_random(&mut bytes)?;
        bytes[0] = (bytes[0] & 0x7f) | 0x40;
        Ok(Self(bytes.into()))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (1..=BYTES_MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The serial number written in hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let bytes: Option<Vec<u8>> =
            (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect();
        Self::from_bytes(&bytes?)
    }

    /// The serial number of a certificate.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|error| Error::NoIdentity(error.to_string()))?;
        Self::from_bytes(parsed.raw_serial())
            .ok_or_else(|| Error::NoIdentity("its serial number is longer than allowed".to_owned()))
    }

    pub(crate) fn to_rcgen(&self) -> SerialNumber {
        SerialNumber::from_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_survive_text_and_are_never_negative() {
        for _ in 0..32 {
            let serial = Serial::random().unwrap();
            assert_eq!(Serial::from_hex(&serial.to_string()), Some(serial.clone()));
            assert!((0x40..0x80).contains(&serial.0[0]) && serial.0.len() == BYTES);
        }
        for bad in ["", "1", "+1", "0g", "ä0", &"00".repeat(BYTES_MAX + 1)] {
            assert_eq!(Serial::from_hex(bad), None, "{bad}");
        }
    }
}
