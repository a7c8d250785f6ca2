//! One line of the journal, and the chain that binds it to all lines before it.

use serde::{Deserialize, Serialize};
use tributary_common::Digest;
use tributary_common::id::Version;

use super::super::Kept;
#[cfg(test)]
use crate::planted::Bug;
use crate::round::{Recorded, Row};

/// What the chain begins with, and what keeps its hashes apart from every other use of BLAKE3.
const CONTEXT: &str = "tributary 2026-11 journal row";

/// A row as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, counted from 0 without gaps.
    pub sequence: u64,
    /// The process that wrote it, counted from 0: each start that writes a row is a new epoch.
    pub epoch: u64,
    /// What it says.
    pub body: Body,
    /// BLAKE3 over the hash before it, its number, its epoch and its body.
    pub hash: Digest,
}

/// What an entry says. Kept as JSON, so that any tool that reads SQLite reads a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The row, with its time on the run's own clock.
    #[serde(flatten)]
    pub recorded: Recorded,
    /// Milliseconds since 1970 on the machine's clock; for people only. 0 in simulated runs.
    pub wall_ms: u64,
    /// Where the update of an accepted row lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Place>,
    /// What is kept with a version, committed or initial.
    #[serde(flatten)]
    pub retained: Option<Retained>,
}

/// What is kept with a version, its model aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// Digest of the server optimiser's state after it.
    pub optimizer: Digest,
    /// The oldest version that stays until a later row of a version says otherwise; without it, none is known to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_from: Option<Version>,
}

impl Entry {
    /// The hash before the first entry.
    pub const ORIGIN: Digest = Digest([0; 32]);

    /// The entry that says `body` behind the one with the hash `previous`, and its body as it is kept.
    #[must_use]
    pub fn new(previous: Digest, sequence: u64, epoch: u64, body: Body) -> (Self, String) {
        let text = serde_json::to_string(&body).expect("bodies are plain data");
        let hash = chain(previous, sequence, epoch, &text);
        (Self { sequence, epoch, body, hash }, text)
    }

    /// The entry in `columns`, if it is the one that the chain wants next: number `next`, behind the hash `previous`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn read(next: u64, previous: Digest, columns: Columns<'_>) -> Result<Self, String> {
        let Columns { sequence, epoch, body, hash } = columns;
        if u64::try_from(sequence) != Ok(next) {
            return Err(format!("it is missing, row {sequence} follows"));
        }
        let epoch = u64::try_from(epoch).map_err(|_| format!("its epoch is {epoch}"))?;
        let expected = chain(previous, next, epoch, body);
        let continues = hash == expected.0;
        #[cfg(test)]
        let continues = continues || Bug::ChainUnchecked.is_planted();
        if !continues {
            return Err("its hash does not continue the chain: it, or a row before it, was changed".to_owned());
        }
        let body = serde_json::from_str(body).map_err(|error| format!("it cannot be read: {error}"))?;
        Ok(Self { sequence: next, epoch, body, hash: expected })
    }

    /// The version that the entry makes.
    pub(super) fn version(&self) -> Option<Kept> {
        let (version, model) = match &self.body.recorded.row {
            Row::ModelCommitted { version, digest, .. } => (*version, *digest),
            Row::RunCreated { model, .. } => (Version(0), *model),
            Row::RolledBack { .. }
            | Row::RoundAborted { .. }
            | Row::RoundClosing { .. }
            | Row::RoundOpened { .. }
            | Row::UpdateAccepted { .. } => return None,
        };
        Some(Kept { version, model, optimizer: self.body.retained?.optimizer })
    }
}

/// The columns in which an entry is kept, as they come from the disk: nothing of them is believed yet.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// Its number.
    pub sequence: i64,
    /// The process that wrote it.
    pub epoch: i64,
    /// Its body as JSON.
    pub body: &'a str,
    /// Its hash; 32 bytes.
    pub hash: &'a [u8],
}

/// Where an update lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its place in its round's segment; without one it is a file of its own, named by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// The hash of an entry with this body, behind the one with the hash `previous`.
fn chain(previous: Digest, sequence: u64, epoch: u64, body: &str) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&previous.0).update(&sequence.to_le_bytes()).update(&epoch.to_le_bytes()).update(body.as_bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::id::RunId;
    use tributary_common::time::Time;

    /// A journal that an older version wrote is read as it stands: its text is part of the chain.
    #[test]
    fn the_text_of_a_body_is_pinned() {
        let row = Row::RunCreated { run: RunId([7; 16]), config: Digest([1; 32]), model: Digest([2; 32]) };
        let body = Body {
            recorded: Recorded { at: Time(5), row },
            wall_ms: 6,
            update: Some(Place { bytes: 8, offset: Some(0) }),
            retained: None,
        };
        let text = serde_json::to_string(&body).unwrap();
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        let run = "[7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7]";
        assert_eq!(
            text,
            format!(
                "{{\"at\":5,\"row\":\"RunCreated\",\"run\":{run},\"config\":\"{one}\",\"model\":\"{two}\",\
                 \"wall_ms\":6,\"update\":{{\"bytes\":8,\"offset\":0}}}}"
            )
        );
        assert_eq!(serde_json::from_str::<Body>(&text).unwrap(), body);
        let retained = Some(Retained { optimizer: Digest([3; 32]), kept_from: Some(Version(4)) });
        let version = Body { update: None, retained, ..body };
        let told = serde_json::to_string(&version).unwrap();
        assert!(
            told.ends_with(&format!("\"wall_ms\":6,\"optimizer\":\"{}\",\"kept_from\":4}}", "03".repeat(32))),
            "{told}"
        );
        assert_eq!(serde_json::from_str::<Body>(&told).unwrap(), version);
        let without = told.replace(",\"kept_from\":4", "");
        assert_eq!(serde_json::from_str::<Body>(&without).unwrap().retained.unwrap().kept_from, None);
        let committed = chain(Entry::ORIGIN, 0, 0, &text);
        assert_ne!(committed, chain(Entry::ORIGIN, 1, 0, &text));
        assert_ne!(committed, chain(Entry::ORIGIN, 0, 1, &text));
        assert_ne!(committed, chain(committed, 0, 0, &text));
    }
}
