//! The authority's side: takes back what it issued to a member.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use tributary_common::id::ClientId;
use tributary_common::identity::Role;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::file::{BYTES_MAX, FILE};
use super::is_signed_by;
use crate::authority::{AUTHORITY_VALIDITY, Authority, not_issued};
use crate::serial::Serial;
use crate::{Error, files};

/// How each part of a file in PEM begins.
const BEGIN: &str = "-----BEGIN ";

/// What was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Certificates that were valid until now.
    pub certificates: usize,
    /// Certificates that the list held already.
    pub before: usize,
    /// Invitations that were open until now.
    pub invitations: usize,
    /// The roles that the certificates had.
    pub roles: Vec<Role>,
    /// The list, to be given to every coordinator; none where no certificate was ever taken back.
    pub file: Option<PathBuf>,
}

impl Authority {
    /// Takes back everything by which the member `name` gets in at `now`: its open invitations, and every certificate that
    /// is still valid, which is added to the list `revoked.crl` in the authority's folder. What was taken back before stays
    /// so: asked again, this finishes what was begun. A certificate that is issued to the same name later is not concerned.
    ///
    /// # Errors
    /// There is nothing to take back and never was, or the folder cannot be read or written.
    pub fn revoke(&self, name: &ClientId, now: SystemTime) -> Result<Revoked, Error> {
        let lock = files::lock(self.folder())?;
        // First, because it needs nothing else: a token that somebody else has seen is worth nothing from here on.
        let invitations = self.disinvite(name, now)?;
        let path = self.folder().join(FILE);
        let broken = |why: String| Error::Broken { file: path.clone(), why };
        let held = files::read_if_there(&path, BYTES_MAX)?.unwrap_or_default();
        let (own, others) = self.apart(&held).map_err(broken)?;
        let (number, mut listed) = own.map_or(Ok((0, Vec::new())), |own| entries(&own)).map_err(broken)?;
        let known: BTreeSet<Vec<u8>> = listed.iter().map(|one| one.serial_number.to_bytes()).collect();
        let mut issued = self.ledger().entries()?;
        issued.retain(|entry| entry.identity.name == *name);
        let was_issued = !issued.is_empty();
        let (before, mut fresh): (Vec<_>, Vec<_>) =
            issued.into_iter().partition(|entry| known.contains(&entry.serial.to_rcgen().to_bytes()));
        fresh.retain(|entry| entry.expires > now);
        if before.is_empty() && fresh.is_empty() && invitations == 0 {
            let why = match was_issued {
                true => "its certificates have expired",
                false => "this authority issued nothing to it, and no invitation is open",
            };
            return Err(Error::NotRevoked { name: name.to_string(), why });
        }
        if !fresh.is_empty() {
            listed.extend(fresh.iter().map(|entry| entry_of(&entry.serial, now)));
            let list = self.sign_list(listed, number + 1, now)? + &others;
            if list.len() as u64 > BYTES_MAX {
                return Err(broken(format!("it would be larger than {BYTES_MAX} bytes")));
            }
            files::replace_public(&path, &list)?;
        }
        let roles: BTreeSet<_> = before.iter().chain(&fresh).map(|entry| entry.identity.role).collect();
        let file = (!held.is_empty() || !fresh.is_empty()).then_some(path);
        drop::<File>(lock);
        Ok(Revoked {
            certificates: fresh.len(),
            before: before.len(),
            invitations,
            roles: roles.into_iter().collect(),
            file,
        })
    }

    /// Whether a serial number stands in the list of this folder. The caller holds the folder's lock.
    pub(crate) fn has_revoked(&self, serial: &Serial) -> Result<bool, Error> {
        let path = self.folder().join(FILE);
        let Some(text) = files::read_if_there(&path, BYTES_MAX)? else { return Ok(false) };
        let broken = |why| Error::Broken { file: path.clone(), why };
        let Some(own) = self.apart(&text).map_err(broken)?.0 else { return Ok(false) };
        let (_, revoked) = entries(&own).map_err(broken)?;
        let serial = serial.to_rcgen();
        Ok(revoked.iter().any(|one| one.serial_number == serial))
    }

    /// The list of this authority in such a file, and the rest of it: a federation that changes its root has copied the old
    /// authority's list there, which stays as it is.
    fn apart(&self, text: &str) -> Result<(Option<String>, String), String> {
        let issuing =
            CertificateDer::from_pem_slice(self.issuing_pem().as_bytes()).map_err(|error| error.to_string())?;
        let (mut own, mut others) = (None, String::new());
        for (at, _) in text.match_indices(BEGIN) {
            let block = &text[at..];
            let block = block[BEGIN.len()..].find(BEGIN).map_or(block, |end| &block[..BEGIN.len() + end]);
            if let Ok(list) = CertificateRevocationListDer::from_pem_slice(block.as_bytes()) {
                let (_, list) = CertificateRevocationList::from_der(&list).map_err(|error| error.to_string())?;
                if is_signed_by(&list, &issuing) {
                    own = Some(block.to_owned());
                    continue;
                }
            } else if CertificateDer::from_pem_slice(block.as_bytes()).map_err(|error| error.to_string())? == issuing {
                continue;
            }
            others.push_str(block);
        }
        if own.is_none() && others.is_empty() && !text.is_empty() {
            return Err("it holds no list of revoked certificates".to_owned());
        }
        Ok((own, others))
    }

    fn sign_list(&self, revoked: Vec<RevokedCertParams>, number: u64, now: SystemTime) -> Result<String, Error> {
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + AUTHORITY_VALIDITY).into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(self.issuer()).and_then(|list| list.pem()).map_err(not_issued)?;
        Ok(format!("{}{list}", self.issuing_pem()))
    }
}

fn entry_of(serial: &Serial, now: SystemTime) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: serial.to_rcgen(),
        revocation_time: now.into(),
        reason_code: None,
        invalidity_date: None,
    }
}

/// The number and the entries of the authority's own list.
fn entries(pem: &str) -> Result<(u64, Vec<RevokedCertParams>), String> {
    let der = CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    let (_, list) = CertificateRevocationList::from_der(&der).map_err(|error| error.to_string())?;
    let number = list.crl_number().and_then(|number| number.to_u64_digits().first().copied()).unwrap_or(0);
    let entries = list.iter_revoked_certificates().map(|revoked| {
        let serial = Serial::from_bytes(revoked.raw_serial()).ok_or("a serial number in it is too long")?;
        let seconds = u64::try_from(revoked.revocation_date.timestamp()).unwrap_or(0);
        Ok(entry_of(&serial, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
    });
    Ok((number, entries.collect::<Result<_, String>>()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::{RevocationFile, RevocationList, install};
    use super::*;
    use crate::Credentials;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    fn authority() -> (tempfile::TempDir, Authority) {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "north", now()).unwrap();
        (folder, authority)
    }

    fn issue(authority: &Authority, who: &str) -> Credentials {
        authority.issue(&format!("tributary://north/{who}").parse().unwrap(), DAY, now()).unwrap()
    }

    fn serial(member: &Credentials) -> Serial {
        Serial::of(&member.chain()[0]).unwrap()
    }

    fn name(text: &str) -> ClientId {
        text.parse().unwrap()
    }

    fn open(folder: &Path, authority: &Authority) -> RevocationFile {
        let root = CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap();
        RevocationFile::open(&folder.join(FILE), &[root]).unwrap()
    }

    #[test]
    fn every_certificate_of_a_name_is_taken_back_and_a_later_one_is_good() {
        let (folder, authority) = authority();
        let members = [issue(&authority, "client/a"), issue(&authority, "client/b"), issue(&authority, "evaluator/a")];
        let mut file = open(folder.path(), &authority);
        let revocations = file.revocations();
        assert!(revocations.list().is_empty(), "no file, nobody revoked");

        let revoked = authority.revoke(&name("a"), now()).unwrap();
        assert_eq!((revoked.certificates, revoked.roles), (2, vec![Role::Client, Role::Evaluator]));
        assert!(file.look().unwrap() && !file.look().unwrap(), "told once");
        let again = issue(&authority, "client/a");
        let held = |member: &Credentials| revocations.holds(&serial(member));
        assert_eq!([held(&members[0]), held(&members[1]), held(&members[2]), held(&again)], [true, false, true, false]);

        // The second list holds what the first held.
        authority.revoke(&name("b"), now() + DAY / 2).unwrap();
        assert!(file.look().unwrap());
        assert_eq!([held(&members[0]), held(&members[1]), held(&members[2]), held(&again)], [true, true, true, false]);
        assert_eq!(revocations.list().len(), 3);
    }

    #[test]
    fn nothing_to_take_back_is_said_and_writes_no_list() {
        let (folder, authority) = authority();
        issue(&authority, "client/a");
        for (who, at, why) in [("z", now(), "issued nothing"), ("a", now() + 2 * DAY, "expired")] {
            let error = authority.revoke(&name(who), at).unwrap_err();
            assert!(error.to_string().contains(why) && error.hint().is_some(), "{error}");
        }
        assert!(!folder.path().join(FILE).exists());
    }

    /// What goes wrong without it: who forgot to hand the list on, or named the wrong folder, is told that all is done.
    #[test]
    fn revoking_again_says_what_was_revoked_before_and_leaves_the_list_as_it_is() {
        let (folder, authority) = authority();
        issue(&authority, "client/a");
        let first = authority.revoke(&name("a"), now()).unwrap();
        assert_eq!((first.certificates, first.before), (1, 0));
        let list = fs::read(folder.path().join(FILE)).unwrap();
        for at in [now(), now() + 2 * DAY] {
            let again = authority.revoke(&name("a"), at).unwrap();
            assert_eq!(again, Revoked { certificates: 0, before: 1, ..first.clone() });
            assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), list);
        }
        issue(&authority, "client/a");
        let third = authority.revoke(&name("a"), now()).unwrap();
        assert_eq!((third.certificates, third.before), (1, 1));
    }

    /// What goes wrong without it: when a federation changes its root, whoever was sent away before comes back in.
    #[test]
    fn the_list_of_the_authority_before_stays_in_the_file_of_the_next() {
        let ((old_folder, old), (folder, next)) = (authority(), authority());
        let before = issue(&old, "client/a");
        old.revoke(&name("a"), now()).unwrap();
        fs::copy(old_folder.path().join(FILE), folder.path().join(FILE)).unwrap();
        let roots = [&old, &next].map(|at| CertificateDer::from_pem_slice(at.root_pem().as_bytes()).unwrap());
        let mut file = RevocationFile::open(&folder.path().join(FILE), &roots).unwrap();
        let revocations = file.revocations();
        assert!(revocations.holds(&serial(&before)));
        let mut all = vec![before];
        for who in ["b", "c"] {
            let held = issue(&next, &format!("client/{who}"));
            assert_eq!(next.revoke(&name(who), now()).unwrap().certificates, 1);
            assert!(next.has_revoked(&serial(&held)).unwrap() && file.look().unwrap());
            all.push(held);
            assert_eq!(revocations.list().len(), all.len());
            assert!(all.iter().all(|one| revocations.holds(&serial(one))));
        }
        files::replace_public(&folder.path().join(FILE), "nonsense").unwrap();
        assert!(matches!(next.revoke(&name("b"), now()), Err(Error::Broken { .. })));
    }

    #[test]
    fn a_list_is_installed_in_a_coordinators_identity_folder_and_nowhere_else() {
        let (folder, authority) = authority();
        for who in ["coordinator/hub", "client/a"] {
            issue(&authority, who).save(&folder.path().join(who)).unwrap();
        }
        let list = authority.revoke(&name("a"), now()).unwrap().file.unwrap();
        install(&list, &folder.path().join("coordinator/hub")).unwrap();
        assert_eq!(fs::read(folder.path().join("coordinator/hub").join(FILE)).unwrap(), fs::read(&list).unwrap());
        for wrong in ["client/a", "nowhere", "."] {
            let error = install(&list, &folder.path().join(wrong)).unwrap_err();
            assert!(matches!(error, Error::NoCoordinator { .. }), "{error}");
            assert!(error.hint().unwrap().contains("identity folder of a coordinator"), "{error}");
        }
        assert!(!folder.path().join("client/a").join(FILE).exists());
    }

    #[test]
    fn a_list_of_another_authority_or_a_changed_one_counts_for_nothing() {
        let (folder, ours) = authority();
        let (_other_folder, other) = authority();
        for authority in [&ours, &other] {
            issue(authority, "client/a");
            authority.revoke(&name("a"), now()).unwrap();
        }
        let good = fs::read_to_string(folder.path().join(FILE)).unwrap();
        let foreign = fs::read_to_string(other.folder().join(FILE)).unwrap();
        let root = CertificateDer::from_pem_slice(ours.root_pem().as_bytes()).unwrap();
        let parse = |text: &str| RevocationList::parse(text, std::slice::from_ref(&root));
        assert_eq!(parse(&good).unwrap().len(), 1);
        let (our_authority, our_list) = good.split_at(good.find("-----BEGIN X509 CRL").unwrap());
        let their_list = &foreign[foreign.find("-----BEGIN X509 CRL").unwrap()..];
        let (half, letter) = (our_list.len() / 2, if &our_list[200..201] == "A" { "B" } else { "A" });
        let changed = format!("{our_authority}{}{letter}{}", &our_list[..200], &our_list[201..]);
        let torn = format!("{our_authority}{}", &our_list[..half]);
        let self_made = format!("{our_authority}{their_list}");
        for bad in [&foreign, &changed, &torn, &self_made, our_list, our_authority, "", "nonsense"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        // A member vouches for no list, not even with our root above it.
        let member = issue(&ours, "client/b");
        let pem = format!("{}{their_list}", member.chain_pem());
        assert!(parse(&pem).is_err());
    }

    #[test]
    fn nobody_comes_back_in_by_an_older_list_a_spoilt_or_a_removed_one() {
        let (folder, authority) = authority();
        let (a, b) = (issue(&authority, "client/a"), issue(&authority, "client/b"));
        let path = folder.path().join(FILE);
        authority.revoke(&name("a"), now()).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        authority.revoke(&name("b"), now()).unwrap();
        let mut file = open(folder.path(), &authority);
        let revocations = file.revocations();
        for spoilt in [first.as_str(), "", "nonsense"] {
            files::replace_public(&path, spoilt).unwrap();
            let error = file.look().unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            assert!(!file.look().unwrap(), "said once");
            assert!(revocations.holds(&serial(&a)) && revocations.holds(&serial(&b)));
        }
        fs::remove_file(&path).unwrap();
        assert!(!file.look().unwrap() && revocations.holds(&serial(&b)));
        // At a start there is no list to keep: a spoilt one is an error.
        files::replace_public(&path, "nonsense").unwrap();
        assert!(RevocationFile::open(&path, a.roots()).is_err());
    }
}
