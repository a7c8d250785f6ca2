//! Receipts that prove themselves: each is a keyed digest over run, work, client and update, under a key that only the run's
//! coordinator has.
//!
//! The same update again gets the same receipt, from the next process too. Whoever holds a run's folder can say of any
//! receipt which accepted update it is of, and that no other coordinator gave it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tributary_common::Digest;
use tributary_common::id::{ClientId, RunId, Ticket};

use crate::round::Row;
use crate::store::journal::Found;

/// The key's file in the run's folder; for its owner alone.
pub(crate) const FILE: &str = "receipt.key";

/// Length of a key in bytes.
const KEY_BYTES: usize = 32;

/// Permission bits of the key: nobody but the owner.
const KEY_MODE: u32 = 0o600;

/// What gives the receipts of one run.
#[derive(Clone)]
pub struct Receipts {
    key: [u8; KEY_BYTES],
    run: RunId,
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receipts({})", self.run)
    }
}

impl Receipts {
    /// The receipts of a run that is kept nowhere, under a random `key`.
    #[must_use]
    pub const fn new(run: RunId, key: [u8; KEY_BYTES]) -> Self {
        Self { key, run }
    }

    /// The receipts of the run in `folder`, under the key that is in it; `fresh` becomes the key of a run without one.
    ///
    /// # Errors
    /// The key cannot be read or written, is no key, or others may read it.
    pub fn kept_in(folder: &Path, run: RunId, fresh: [u8; KEY_BYTES]) -> io::Result<Self> {
        match Self::look(folder, run) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let beside = folder.join(format!("{FILE}.new"));
        if beside.exists() {
            fs::remove_file(&beside)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(KEY_MODE).open(&beside)?;
        file.write_all(&fresh)?;
        file.sync_all()?;
        fs::rename(&beside, folder.join(FILE))?;
        File::open(folder)?.sync_all()?;
        Ok(Self::new(run, fresh))
    }

    /// The receipts that the run in `folder` gave.
    ///
    /// # Errors
    /// As [`Receipts::kept_in`], and if there is no key.
    pub fn look(folder: &Path, run: RunId) -> io::Result<Self> {
        let path = folder.join(FILE);
        let bad = |why: &str| io::Error::new(ErrorKind::InvalidData, format!("`{}` {why}", path.display()));
        let file = File::open(&path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Err(bad("can be read by others: make it `chmod 600`"));
        }
        let mut bytes = Vec::with_capacity(KEY_BYTES);
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        let key = bytes.try_into().map_err(|_| bad("is no key: it should have 32 bytes"))?;
        Ok(Self::new(run, key))
    }

    /// The receipt for an update.
    #[must_use]
    pub fn of(&self, client: &ClientId, ticket: Ticket, digest: Digest) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(b"tributary receipt 1").update(&self.run.0);
        // Every part has a fixed length or says it, so that no two updates are the same bytes.
        match ticket {
            Ticket::Train { round, attempt } => {
                hasher.update(&[1]).update(&round.0.to_le_bytes()).update(&attempt.0.to_le_bytes())
            }
            Ticket::Evaluate { version } => hasher.update(&[0]).update(&version.0.to_le_bytes()),
        };
        let name = client.as_str().as_bytes();
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name).update(&digest.0);
        hasher.finalize().into()
    }

    /// The accepted update that `receipt` is of, as its row; none if this run gave no such receipt.
    #[must_use]
    pub fn find<'a>(&self, found: &'a Found, receipt: Digest) -> Option<&'a Row> {
        // Comparing hashes takes the same time whatever they are.
        let wanted = blake3::Hash::from(receipt.0);
        found.rows().map(|recorded| &recorded.row).find(|row| match row {
            Row::UpdateAccepted { ticket, client, digest, .. } => {
                blake3::Hash::from(self.of(client, *ticket, *digest).0) == wanted
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::id::{Attempt, Round, Version};

    const RUN: RunId = RunId([7; 16]);

    fn receipt(receipts: &Receipts, client: &str, round: u64, attempt: u32, digest: u8) -> Digest {
        let ticket = Ticket::Train { round: Round(round), attempt: Attempt(attempt) };
        receipts.of(&client.parse().unwrap(), ticket, Digest([digest; 32]))
    }

    /// What goes wrong without it: a receipt of one update passes for another's.
    #[test]
    fn a_receipt_is_of_one_run_one_work_one_client_and_one_update() {
        let receipts = Receipts::new(RUN, [1; 32]);
        let same = receipt(&receipts, "a", 1, 0, 2);
        assert_eq!(receipt(&receipts, "a", 1, 0, 2), same);
        let others = [
            receipt(&receipts, "b", 1, 0, 2),
            receipt(&receipts, "a", 2, 0, 2),
            receipt(&receipts, "a", 1, 1, 2),
            receipt(&receipts, "a", 1, 0, 3),
            receipt(&Receipts::new(RunId([8; 16]), [1; 32]), "a", 1, 0, 2),
            receipt(&Receipts::new(RUN, [2; 32]), "a", 1, 0, 2),
            receipts.of(&"a".parse().unwrap(), Ticket::Evaluate { version: Version(1) }, Digest([2; 32])),
        ];
        assert!(others.iter().all(|other| *other != same), "{others:?}");
    }

    #[test]
    fn the_key_is_for_its_owner_alone_and_the_next_process_gives_the_same_receipts() {
        let folder = tempfile::tempdir().unwrap();
        let first = Receipts::kept_in(folder.path(), RUN, [1; 32]).unwrap();
        let second = Receipts::kept_in(folder.path(), RUN, [2; 32]).unwrap();
        assert_eq!(receipt(&first, "a", 1, 0, 2), receipt(&second, "a", 1, 0, 2));
        let file = folder.path().join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, KEY_MODE);
        assert_eq!(format!("{first:?}"), format!("Receipts({RUN})"), "the key is not shown");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Receipts::kept_in(folder.path(), RUN, [2; 32]).is_err());
        fs::remove_file(&file).unwrap();
        fs::write(&file, [1; 31]).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Receipts::kept_in(folder.path(), RUN, [2; 32]).is_err(), "a torn key is none");
    }
}
