//! The authority's side: invitations are one file each, named by the secret's hash. A copy of the folder lets nobody in.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::PublicKeyData;
use tributary_common::Digest;
use tributary_common::id::ClientId;
use tributary_common::identity::{Identity, Role};

use super::{
    ANSWER_KEPT, Grant, INVITATION_VALIDITY, INVITATIONS_MAX, NotGranted, REQUEST_BYTES_MAX, Request, Secret, Standing,
};
use crate::authority::{Authority, not_issued};
use crate::serial::Serial;
use crate::{Credentials, Error, files};

/// The folder inside the authority's.
const FOLDER: &str = "invitations";

/// The largest invitation, in bytes: two certificates and three short lines.
const BYTES_MAX: u64 = 16 * 1024;

/// Who is invited until when, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Invitation {
    identity: Identity,
    expires: SystemTime,
    answered: Option<Answered>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answered {
    at: SystemTime,
    /// Of the request.
    request: Digest,
    chain: String,
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn time(text: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(text.parse().ok()?))
}

impl Invitation {
    /// Whether somebody new could still join by it.
    fn is_open(&self, now: SystemTime) -> bool {
        self.answered.is_none() && now < self.expires
    }

    fn text(&self) -> String {
        let head = format!("{}\n{}\n", self.identity, seconds(self.expires));
        self.answered.as_ref().map_or_else(
            || head.clone(),
            |answered| format!("{head}{} {}\n{}", seconds(answered.at), answered.request, answered.chain),
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let (identity, rest) = text.split_once('\n')?;
        let (expires, rest) = rest.split_once('\n')?;
        let answered = match rest.split_once('\n') {
            None if rest.is_empty() => None,
            None => return None,
            Some((used, chain)) => {
                let (at, request) = used.split_once(' ')?;
                Some(Answered { at: time(at)?, request: request.parse().ok()?, chain: chain.to_owned() })
            }
        };
        Some(Self { identity: identity.parse().ok()?, expires: time(expires)?, answered })
    }

    fn read(path: &Path) -> Result<Option<Self>, Error> {
        let Some(text) = files::read_if_there(path, BYTES_MAX)? else { return Ok(None) };
        let broken = || Error::Broken { file: path.to_owned(), why: "it is no invitation".to_owned() };
        Self::parse(&text).map(Some).ok_or_else(broken)
    }
}

/// The public key that a request wants a certificate for: the only thing that is taken from one.
///
/// # Errors
/// It is longer than [`REQUEST_BYTES_MAX`], no signing request, or not signed by its key.
pub fn key_of_request(request: &str) -> Result<Vec<u8>, NotGranted> {
    Ok(readable(request)?.der_bytes().to_vec())
}

fn readable(request: &str) -> Result<impl PublicKeyData + use<>, NotGranted> {
    if request.len() > REQUEST_BYTES_MAX {
        return Err(NotGranted::Unreadable(format!("it is longer than {REQUEST_BYTES_MAX} bytes")));
    }
    Authority::key_of_request(request).map_err(|error| NotGranted::Unreadable(error.to_string()))
}

impl Authority {
    fn invitation(&self, secret: &Secret) -> PathBuf {
        self.folder().join(FOLDER).join(secret.hash().to_string())
    }

    /// Invites a client or an evaluator: the secret is good once, until a day after `now`, for this name and role.
    ///
    /// # Errors
    /// The identity is of another federation or a coordinator's, too many invitations are open, or the folder cannot be
    /// written.
    pub fn invite(&self, identity: &Identity, now: SystemTime) -> Result<Secret, Error> {
        if identity.federation != self.federation() {
            return Err(not_issued(format!("`{identity}` is not of the federation `{}`", self.federation())));
        }
        if identity.role == Role::Coordinator {
            return Err(not_issued("coordinators are not invited; use `tributary certs issue`"));
        }
        let lock = files::lock(self.folder())?;
        files::create_folder(&self.folder().join(FOLDER))?;
        // Answers are kept a little longer than their invitations, which costs nothing.
        let open = self.sweep_invitations(|invitation| invitation.expires + ANSWER_KEPT > now)?;
        if open >= INVITATIONS_MAX {
            return Err(not_issued(format!("{open} invitations are open; the first ones expire within a day")));
        }
        let secret = Secret::random()?;
        let invitation = Invitation { identity: identity.clone(), expires: now + INVITATION_VALIDITY, answered: None };
        files::replace_private(&self.invitation(&secret), &invitation.text())?;
        drop(lock);
        Ok(secret)
    }

    /// Whether somebody of this name and role is a member at `now`, or may become one without another token.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn standing(&self, identity: &Identity, now: SystemTime) -> Result<Standing, Error> {
        let lock = files::lock(self.folder())?;
        for entry in self.ledger().entries()? {
            if entry.identity == *identity && entry.expires > now && !self.has_revoked(&entry.serial)? {
                return Ok(Standing::Member);
            }
        }
        let mut latest = None;
        self.sweep_invitations(|invitation| {
            if invitation.identity == *identity && invitation.is_open(now) {
                latest = latest.max(Some(invitation.expires));
            }
            true
        })?;
        drop(lock);
        let left = |until: SystemTime| until.duration_since(now).unwrap_or_default();
        Ok(latest.map_or(Standing::Unknown, |until| Standing::Invited { left: left(until) }))
    }

    /// Answers a request of somebody who says that they were invited. The same request gets the same answer for ten
    /// minutes; any other one after the first gets none.
    ///
    /// # Errors
    /// See [`NotGranted`].
    pub fn redeem(
        &self,
        secret: &Secret,
        request: &str,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Grant, NotGranted> {
        let lock = files::lock(self.folder())?;
        let path = self.invitation(secret);
        let mut invitation = Invitation::read(&path)?.ok_or(NotGranted::Unknown)?;
        let digest = Digest::of(request.as_bytes());
        if let Some(answered) = invitation.answered {
            let is_kept = now.duration_since(answered.at).is_ok_and(|age| age <= ANSWER_KEPT);
            if answered.request != digest || !is_kept {
                return Err(NotGranted::Used);
            }
            return Ok(self.grant(invitation.identity, answered.chain)?);
        }
        if invitation.expires <= now {
            return Err(NotGranted::Expired);
        }
        let chain = self.sign_request(request, &invitation.identity, validity, now)?;
        invitation.answered = Some(Answered { at: now, request: digest, chain: chain.clone() });
        // Before the answer leaves: a token that was answered is used, whatever happens next.
        files::replace_private(&path, &invitation.text())?;
        drop(lock);
        Ok(self.grant(invitation.identity, chain)?)
    }

    /// A new certificate for a member that came with a good one, for another key. Asked under the folder's lock, so that
    /// nobody who is being revoked slips through with a certificate that the list does not know.
    ///
    /// # Errors
    /// See [`NotGranted`].
    pub fn renew(
        &self,
        identity: &Identity,
        held: &Serial,
        request: &str,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Grant, NotGranted> {
        if identity.role == Role::Coordinator {
            return Err(NotGranted::OtherRole);
        }
        let lock = files::lock(self.folder())?;
        if self.has_revoked(held)? {
            return Err(NotGranted::Revoked);
        }
        let chain = self.sign_request(request, identity, validity, now)?;
        drop(lock);
        Ok(self.grant(identity.clone(), chain)?)
    }

    /// A new certificate, with a new key, for the coordinator that has this authority at hand and trusts its root: its
    /// clients do too.
    ///
    /// # Errors
    /// `held` is no coordinator's, does not trust this authority, or was revoked; else see [`NotGranted`].
    pub fn renew_own(&self, held: &Credentials, now: SystemTime) -> Result<Credentials, NotGranted> {
        if held.identity().role != Role::Coordinator {
            return Err(NotGranted::OtherRole);
        }
        if !held.roots().iter().any(|root| Digest::of(root) == self.root()) {
            return Err(NotGranted::OtherAuthority);
        }
        let lock = files::lock(self.folder())?;
        if self.has_revoked(&Serial::of(&held.chain()[0])?)? {
            return Err(NotGranted::Revoked);
        }
        let request = Request::new()?;
        let chain = self.sign_request(request.pem(), held.identity(), held.validity(), now)?;
        drop(lock);
        Ok(request.granted(&chain, &self.bundle()?)?)
    }

    fn sign_request(
        &self,
        request: &str,
        identity: &Identity,
        validity: Duration,
        now: SystemTime,
    ) -> Result<String, NotGranted> {
        Ok(self.sign_locked(identity, validity, now, &readable(request)?)?)
    }

    fn grant(&self, identity: Identity, chain: String) -> Result<Grant, Error> {
        Ok(Grant { identity, chain, roots: self.bundle()? })
    }

    /// Takes back every invitation of a name; how many of them were open at `now`. The caller holds the folder's lock.
    pub(crate) fn disinvite(&self, name: &ClientId, now: SystemTime) -> Result<usize, Error> {
        let mut n_open = 0;
        self.sweep_invitations(|invitation| {
            let is_other = invitation.identity.name != *name;
            n_open += usize::from(!is_other && invitation.is_open(now));
            is_other
        })?;
        Ok(n_open)
    }

    /// Removes the invitations that are not kept; how many are left.
    fn sweep_invitations(&self, mut keep: impl FnMut(&Invitation) -> bool) -> Result<usize, Error> {
        let folder = self.folder().join(FOLDER);
        let mut left = 0;
        for path in files::list(&folder)? {
            match Invitation::read(&path) {
                Ok(Some(invitation)) if !keep(&invitation) => files::remove_if_there(&path)?,
                Ok(Some(_)) => left += 1,
                Ok(None) => {}
                // Half a file of a crash, or something that is not ours: it invites nobody.
                Err(Error::Broken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    fn authority() -> (tempfile::TempDir, Authority) {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "north", now()).unwrap();
        (folder, authority)
    }

    fn who(text: &str) -> Identity {
        format!("tributary://north/{text}").parse().unwrap()
    }

    fn redeem(authority: &Authority, secret: &Secret, request: &str, at: SystemTime) -> Result<Grant, String> {
        authority.redeem(secret, request, DAY, at).map_err(|error| error.to_string())
    }

    fn member(request: &Request, grant: &Grant) -> Credentials {
        request.granted(&grant.chain, &grant.roots).unwrap()
    }

    #[test]
    fn an_invited_device_becomes_who_it_was_invited_as() {
        let (_folder, authority) = authority();
        for text in ["client/ward-7", "evaluator/judge"] {
            let (request, secret) = (Request::new().unwrap(), authority.invite(&who(text), now()).unwrap());
            let grant = redeem(&authority, &secret, request.pem(), now()).unwrap();
            let credentials = member(&request, &grant);
            assert_eq!((credentials.identity(), &grant.identity), (&who(text), &who(text)));
            assert_eq!(credentials.valid_for(now()), Some(DAY));
            credentials.check(now()).unwrap();
        }
        for bad in ["tributary://south/client/a", "tributary://north/coordinator/hub"] {
            assert!(authority.invite(&bad.parse().unwrap(), now()).is_err(), "{bad}");
        }
    }

    /// What goes wrong without it: a reply that is lost locks a device out, or a token that was seen lets a second one in.
    #[test]
    fn the_same_key_gets_the_same_answer_for_ten_minutes_and_no_other_key_ever_one() {
        let (_folder, authority) = authority();
        let (request, thief) = (Request::new().unwrap(), Request::new().unwrap());
        let secret = authority.invite(&who("client/a"), now()).unwrap();
        let first = redeem(&authority, &secret, request.pem(), now()).unwrap();
        for after in [0, 599, 600] {
            let at = now() + Duration::from_secs(after);
            assert_eq!(redeem(&authority, &secret, request.pem(), at), Ok(first.clone()), "{after} s later");
            assert!(redeem(&authority, &secret, thief.pem(), at).unwrap_err().contains("used already"));
        }
        let late = now() + Duration::from_secs(601);
        assert!(redeem(&authority, &secret, request.pem(), late).unwrap_err().contains("used already"));
        assert_eq!(authority.ledger().entries().unwrap().len(), 1, "one certificate in all");
    }

    #[test]
    fn tokens_expire_and_are_not_guessed() {
        let (folder, authority) = authority();
        let request = Request::new().unwrap();
        let secret = authority.invite(&who("client/a"), now()).unwrap();
        let at = |seconds| now() + INVITATION_VALIDITY - Duration::from_secs(1) + Duration::from_secs(seconds);
        assert!(redeem(&authority, &secret, request.pem(), at(1)).unwrap_err().contains("has expired"));
        let other = Secret::random().unwrap();
        assert!(redeem(&authority, &other, request.pem(), now()).unwrap_err().contains("not known"));
        // The name of the file is the hash: who reads the folder has no token.
        let name = files::list(&folder.path().join(FOLDER)).unwrap();
        assert_eq!(name.len(), 1);
        let text = fs::read_to_string(&name[0]).unwrap();
        let shown = Digest(secret.to_bytes()).to_string();
        assert!(!name[0].display().to_string().contains(&shown) && !text.contains(&shown));
        let hash = Secret::from_bytes(secret.hash().0);
        assert!(redeem(&authority, &hash, request.pem(), now()).unwrap_err().contains("not known"));
        redeem(&authority, &secret, request.pem(), at(0)).unwrap();
    }

    #[test]
    fn what_is_no_request_uses_no_token_up() {
        let (_folder, authority) = authority();
        let request = Request::new().unwrap();
        let secret = authority.invite(&who("client/a"), now()).unwrap();
        let long = "x".repeat(REQUEST_BYTES_MAX + 1);
        for bad in ["", "nonsense", &request.pem()[..100], authority.root_pem(), &long] {
            assert!(redeem(&authority, &secret, bad, now()).unwrap_err().contains("not one that can be signed"));
        }
        redeem(&authority, &secret, request.pem(), now()).unwrap();
    }

    #[test]
    fn renewal_gives_another_key_to_the_same_member_and_nothing_to_a_revoked_one() {
        let (_folder, authority) = authority();
        let request = Request::new().unwrap();
        let secret = authority.invite(&who("client/a"), now()).unwrap();
        let first = member(&request, &redeem(&authority, &secret, request.pem(), now()).unwrap());
        let held = Serial::of(&first.chain()[0]).unwrap();
        let again = Request::new().unwrap();
        let renew = |identity: &Identity, request: &Request, at| {
            authority.renew(identity, &held, request.pem(), DAY, at).map_err(|error| error.to_string())
        };
        let half = now() + DAY / 2;
        assert_eq!(first.renew_at(), half);
        let grant = renew(first.identity(), &again, half).unwrap();
        let second = member(&again, &grant);
        assert_eq!((second.identity(), second.expires()), (first.identity(), half + DAY));
        assert!(request.granted(&grant.chain, &grant.roots).is_err(), "the old key is of no use");
        assert!(renew(&who("coordinator/hub"), &again, half).unwrap_err().contains("role"));
        // Revoked by name: what was renewed goes too, and nothing is renewed.
        assert_eq!(authority.revoke(&"a".parse().unwrap(), half).unwrap().certificates, 2);
        assert!(renew(first.identity(), &again, half).unwrap_err().contains("revoked"));
    }

    /// What goes wrong without it: a coordinator that runs for longer than its certificate is a stranger to who comes back.
    #[test]
    fn a_coordinator_renews_itself_where_its_own_authority_is_at_hand() {
        let (_folder, authority) = authority();
        let held = authority.issue(&who("coordinator/hub"), DAY, now()).unwrap();
        let renewed = authority.renew_own(&held, held.renew_at()).unwrap();
        assert_eq!((renewed.identity(), renewed.validity()), (held.identity(), DAY));
        assert_eq!(renewed.expires(), now() + DAY / 2 + DAY);
        renewed.check(held.renew_at()).unwrap();
        let refused = |held: &Credentials| authority.renew_own(held, now()).unwrap_err().to_string();
        assert!(refused(&authority.issue(&who("client/a"), DAY, now()).unwrap()).contains("role"));
        let (_folder, other) = self::authority();
        assert!(refused(&other.issue(&who("coordinator/hub"), DAY, now()).unwrap()).contains("another authority"));
        authority.revoke(&"hub".parse().unwrap(), now()).unwrap();
        assert!(refused(&renewed).contains("revoked"));
    }

    /// What goes wrong without it: a token that somebody else has seen is good for a day, and nobody can do anything.
    #[test]
    fn revoking_a_name_takes_its_open_invitations_back_whatever_was_issued_to_it() {
        let (_folder, authority) = authority();
        let name: ClientId = "a".parse().unwrap();
        // To a name with nothing yet, with a good certificate, with revoked ones only, and with an expired one.
        for (at, issues, certificates) in [(0, false, 0), (0, true, 1), (1, false, 0), (30, false, 0)] {
            let at = now() + at * DAY / 10;
            if issues {
                authority.issue(&who("client/a"), DAY, at).unwrap();
            }
            let stays = authority.invite(&who("client/b"), at).unwrap();
            let gone = ["client/a", "evaluator/a"].map(|text| authority.invite(&who(text), at).unwrap());
            let revoked = authority.revoke(&name, at).unwrap();
            assert_eq!((revoked.certificates, revoked.invitations), (certificates, 2));
            for secret in gone {
                let request = Request::new().unwrap();
                assert!(redeem(&authority, &secret, request.pem(), at).unwrap_err().contains("not known"));
            }
            redeem(&authority, &stays, Request::new().unwrap().pem(), at).unwrap();
        }
    }

    #[test]
    fn a_name_is_unknown_then_invited_then_a_member_until_it_is_revoked_or_expires() {
        let (_folder, authority) = authority();
        let standing = |who: &str, at| authority.standing(&self::who(who), at).unwrap();
        assert_eq!(standing("client/a", now()), Standing::Unknown);
        let secret = authority.invite(&who("client/a"), now()).unwrap();
        let half = INVITATION_VALIDITY / 2;
        assert_eq!(standing("client/a", now() + half), Standing::Invited { left: half });
        assert_eq!(standing("client/a", now() + 2 * half), Standing::Unknown);
        redeem(&authority, &secret, Request::new().unwrap().pem(), now()).unwrap();
        assert_eq!(standing("client/a", now()), Standing::Member);
        assert_eq!(standing("evaluator/a", now()), Standing::Unknown);
        assert_eq!(standing("client/a", now() + DAY), Standing::Unknown);
        authority.revoke(&"a".parse().unwrap(), now()).unwrap();
        assert_eq!(standing("client/a", now()), Standing::Unknown);
    }

    /// An invitation that is over is none: nothing is said to be taken back.
    #[test]
    fn invitations_that_were_used_or_have_expired_are_not_counted_as_taken_back() {
        let (_folder, authority) = authority();
        let used = authority.invite(&who("client/a"), now()).unwrap();
        redeem(&authority, &used, Request::new().unwrap().pem(), now()).unwrap();
        authority.invite(&who("client/b"), now()).unwrap();
        let revoked = authority.revoke(&"a".parse().unwrap(), now()).unwrap();
        assert_eq!((revoked.certificates, revoked.invitations), (1, 0));
        assert!(authority.revoke(&"b".parse().unwrap(), now() + INVITATION_VALIDITY).is_err());
    }

    #[test]
    fn old_invitations_make_room() {
        let (folder, authority) = authority();
        authority.invite(&who("client/a"), now()).unwrap();
        authority.invite(&who("client/b"), now() + 2 * DAY).unwrap();
        assert_eq!(files::list(&folder.path().join(FOLDER)).unwrap().len(), 1);
        // Full: the limit is reached without ten thousand calls.
        let text = Invitation { identity: who("client/c"), expires: now() + 3 * DAY, answered: None }.text();
        for index in 1..INVITATIONS_MAX {
            fs::write(folder.path().join(FOLDER).join(index.to_string()), &text).unwrap();
        }
        let error = authority.invite(&who("client/d"), now() + 2 * DAY).unwrap_err();
        assert!(error.to_string().contains("10000 invitations are open"), "{error}");
        authority.invite(&who("client/d"), now() + 4 * DAY).unwrap();
    }
}
