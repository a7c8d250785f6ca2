//! What a certificate says, for people.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tributary_common::Digest;

use crate::{Error, files, peer};

/// One certificate in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The file it is in.
    pub file: String,
    /// The identity of a member, or the name of an authority.
    pub subject: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Start of validity, in seconds since 1970.
    pub not_before: i64,
    /// End of validity, in seconds since 1970.
    pub not_after: i64,
    /// BLAKE3 of the certificate.
    pub fingerprint: Digest,
}

/// Every certificate in a PEM file, or in the PEM files of a folder (`*.pem`, `*.crt`), in order of file names.
///
/// # Errors
/// Files cannot be read or hold something else.
pub fn describe(path: &Path) -> Result<Vec<Description>, Error> {
    let io = |source| Error::Io { file: path.to_owned(), source };
    if !path.is_dir() {
        return describe_file(path);
    }
    let mut found = Vec::new();
    for entry in path.read_dir().map_err(io)? {
        let file = entry.map_err(io)?.path();
        let is_certificate = file.extension().is_some_and(|end| end == "pem" || end == "crt");
        if is_certificate && file.file_name().is_none_or(|name| name != "key.pem") {
            found.push(file);
        }
    }
    found.sort();
    Ok(found.iter().map(|file| describe_file(file)).collect::<Result<Vec<_>, _>>()?.concat())
}

fn describe_file(file: &Path) -> Result<Vec<Description>, Error> {
    let broken = |why: String| Error::Broken { file: file.to_owned(), why };
    let text = files::read(file)?;
    let described: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .map(|der| {
            let der = der.map_err(|error| broken(error.to_string()))?;
            let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|error| broken(error.to_string()))?;
            let authority = || parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
            let subject = peer::identity(std::slice::from_ref(&der))
                .map_or_else(|_| printable(authority().unwrap_or("no name")), |identity| identity.to_string());
            Ok(Description {
                file: file.display().to_string(),
                subject,
                serial: parsed.raw_serial_as_string(),
                not_before: parsed.validity().not_before.timestamp(),
                not_after: parsed.validity().not_after.timestamp(),
                fingerprint: Digest::of(&der),
            })
        })
        .collect::<Result<_, _>>()?;
    if described.is_empty() {
        return Err(broken("it holds no certificate".to_owned()));
    }
    Ok(described)
}

/// Anybody can write anything into a certificate; a terminal obeys control characters.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::Authority;

    #[test]
    fn folders_and_files_are_told_in_order_without_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let authority = Authority::create(folder.path(), "north", now).unwrap();
        let member = folder.path().join("a");
        let who = "tributary://north/client/a";
        authority.issue(&who.parse().unwrap(), Duration::from_secs(3600), now).unwrap().save(&member).unwrap();

        let subjects = |path: &Path| -> Vec<String> {
            describe(path).unwrap().into_iter().map(|description| description.subject).collect()
        };
        assert_eq!(subjects(folder.path()), ["north issuing authority", "north root"]);
        assert_eq!(subjects(&member), [who, "north issuing authority", "north root"]);
        let leaf = &describe(&member.join("chain.pem")).unwrap()[0];
        assert_eq!((leaf.not_before, leaf.not_after), (2_000_000_000 - 300, 2_000_003_600));
        assert_eq!(leaf.serial.split(':').count(), 16);
        let der = CertificateDer::from_pem_file(member.join("chain.pem")).unwrap();
        assert_eq!(leaf.fingerprint, Digest::of(&der));

        for nothing in ["key.pem", "absent.pem"] {
            assert!(describe(&member.join(nothing)).is_err(), "{nothing}");
        }
        fs::write(member.join("zoo.pem"), "nonsense").unwrap();
        assert!(describe(&member).unwrap_err().to_string().contains("zoo.pem"));
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb"), "a[2Jb");
    }
}
