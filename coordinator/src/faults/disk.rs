//! The coordinator's disk: the journal's own rows and chain over memory, and what becomes of a write that a process does not
//! live to see the end of.
//!
//! A group of rows is one transaction, as in SQLite: after a crash it is there or not, never in part. What it brings (updates)
//! is written before it. A `mirror` does the same with the real journal on the real disk, and every reading compares the two:
//! this model of a disk is no better than what it is a model of.

use std::collections::BTreeMap;

use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket, Version};
use tributary_common::parameters::Parameters;
use tributary_common::time::Time;

use super::work::Update;
use crate::round::{Recorded, Row};
use crate::store::Durability;
use crate::store::journal::{Body, Brings, Columns, Entry, Item, Journal, Payload, Place, Retained};

/// A row on its way to the disk, with what it brings.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) recorded: Recorded,
    pub(super) wall_ms: u64,
    pub(super) update: Option<Update>,
}

/// The columns of a durable row.
#[derive(Clone, Debug)]
struct Stored {
    sequence: i64,
    epoch: i64,
    body: String,
    hash: Vec<u8>,
}

/// What a new process finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Recorded>,
    pub(super) at: Time,
    /// The accepted updates of the open round.
    pub(super) updates: BTreeMap<(Ticket, ClientId), Update>,
}

/// A group of rows that is being written.
#[derive(Debug)]
struct Group {
    rows: Vec<Pending>,
    at: Time,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    rows: Vec<Stored>,
    clock: Time,
    updates: BTreeMap<(Ticket, ClientId), Update>,
    models: BTreeMap<Version, Parameters>,
    group: Option<Group>,
    /// The writer's: what continues the durable rows.
    epoch: u64,
    tip: Option<Digest>,
    segment: Option<(Ticket, u64)>,
    mirror: Option<Mirror>,
}

#[derive(Debug)]
struct Mirror {
    folder: tempfile::TempDir,
    journal: Option<Journal>,
}

impl Disk {
    pub(super) fn with_mirror() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let journal = Journal::create(folder.path(), Durability::Process).expect("a new journal can be made");
        Self { mirror: Some(Mirror { folder, journal: Some(journal) }), ..Self::default() }
    }

    /// Begins to write a group of rows.
    pub(super) fn begin(&mut self, rows: Vec<Pending>, at: Time) {
        assert!(self.group.is_none(), "one group is written at a time");
        self.group = Some(Group { rows, at });
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.group.is_some()
    }

    /// The group is durable. Returns its rows and the number of the next one.
    pub(super) fn settle(&mut self) -> (Vec<Recorded>, u64) {
        let Group { rows, at } = self.group.take().expect("a group is being written");
        self.mirror_group(&rows, at);
        let mut settled = Vec::with_capacity(rows.len());
        for pending in rows {
            settled.push(pending.recorded.clone());
            self.insert(pending);
        }
        self.clock = self.clock.max(at);
        (settled, self.rows.len() as u64)
    }

    /// The group never gets there.
    pub(super) fn tear(&mut self) {
        self.group = None;
    }

    fn insert(&mut self, pending: Pending) {
        let Pending { recorded, wall_ms, update } = pending;
        let place = update.as_ref().map(|update| self.place(update));
        let retained = retained(&recorded.row);
        let body = Body { recorded, wall_ms, update: place, retained };
        let (entry, text) = Entry::new(self.tip.unwrap_or(Entry::ORIGIN), self.rows.len() as u64, self.epoch, body);
        if let (Row::UpdateAccepted { ticket, client, .. }, Some(update)) = (&entry.body.recorded.row, update) {
            self.updates.insert((*ticket, client.clone()), update);
        }
        if entry.body.recorded.row.ends_round() {
            self.updates.clear();
            self.segment = None;
        }
        self.tip = Some(entry.hash);
        let signed = |number: u64| i64::try_from(number).expect("a simulated run is short");
        let (sequence, epoch) = (signed(entry.sequence), signed(entry.epoch));
        self.rows.push(Stored { sequence, epoch, body: text, hash: entry.hash.0.to_vec() });
    }

    /// Where an update lies in its round's segment: behind those that are kept already.
    fn place(&mut self, update: &Update) -> Place {
        let bytes = update.parameters.bytes().len() as u64;
        let end = self.segment.filter(|(ticket, _)| *ticket == update.ticket).map_or(0, |(_, end)| end);
        self.segment = Some((update.ticket, end + bytes));
        Place { bytes, offset: Some(end) }
    }

    /// Keeps a version; durable at once, as the store makes it before the version's row.
    pub(super) fn keep_model(&mut self, version: Version, model: Parameters) {
        self.models.insert(version, model);
    }

    /// A new process reads everything. Which bit of which row is wrong is `flip`'s choice.
    pub(super) fn read(&self, flip: Option<u64>) -> Result<Found, String> {
        let mut rows = Vec::with_capacity(self.rows.len());
        let mut tip = Entry::ORIGIN;
        let flipped = flip.filter(|_| !self.rows.is_empty()).map(|bit| (bit % self.rows.len() as u64, bit >> 32));
        for (index, stored) in (0_u64..).zip(&self.rows) {
            let stored = match flipped {
                Some((at, bit)) if at == index => stored.with_a_flipped_bit(bit),
                _ => stored.clone(),
            };
            let Stored { sequence, epoch, body, hash } = &stored;
            let columns = Columns { sequence: *sequence, epoch: *epoch, body, hash };
            let entry = Entry::read(index, tip, columns).map_err(|why| format!("row {index}: {why}"))?;
            tip = entry.hash;
            rows.push(entry.body.recorded);
        }
        let at = rows.last().map_or(Time::ZERO, |last| last.at).max(self.clock);
        Ok(Found { rows, at, updates: self.updates.clone() })
    }

    /// A process goes on from what is here.
    pub(super) fn reopen(&mut self) {
        assert!(self.group.is_none(), "what became of the last group is settled");
        let last = self.rows.last();
        self.epoch = last.map_or(0, |last| u64::try_from(last.epoch).expect("epochs count up") + 1);
        let kept = self.updates.values().map(|update| update.parameters.bytes().len() as u64).sum();
        self.segment = self.updates.values().next().map(|first| (first.ticket, kept));
        self.compare_with_mirror();
    }

    /// A kept version, as long as it is the one that the journal names; `flip` changes one bit of it.
    pub(super) fn model(&self, version: Version, digest: Digest, flip: Option<u64>) -> Result<Parameters, String> {
        let model = self.models.get(&version).ok_or_else(|| format!("version {version} is not kept"))?;
        checked(model, digest, flip).map_err(|why| format!("version {version}: {why}"))
    }

    /// Looks at one kept update with one bit of it changed.
    pub(super) fn spoilt_update(&self, flip: u64) -> Option<Result<Parameters, String>> {
        let count = self.updates.len() as u64;
        let update = self.updates.values().nth(usize::try_from(flip.checked_rem(count)?).expect("below a count"))?;
        Some(checked(&update.parameters, update.digest, Some(flip >> 8)))
    }

    fn mirror_group(&mut self, rows: &[Pending], at: Time) {
        let Some(journal) = self.mirror.as_mut().and_then(|mirror| mirror.journal.as_mut()) else { return };
        let items = rows.iter().map(|pending| {
            let brings = match &pending.update {
                Some(update) => Brings::Update(Payload::Bytes(update.parameters.bytes().clone())),
                None => retained(&pending.recorded.row).map_or(Brings::Nothing, Brings::Version),
            };
            Item { recorded: pending.recorded.clone(), wall_ms: pending.wall_ms, brings }
        });
        journal.commit(items.collect(), at).expect("the real disk has room");
    }

    /// The real journal, opened as by another process, holds what this disk holds.
    fn compare_with_mirror(&mut self) {
        let Some(mirror) = &mut self.mirror else { return };
        mirror.journal = None;
        let (journal, found) = Journal::open(mirror.folder.path(), Durability::Process).expect("the journal is whole");
        mirror.journal = Some(journal);
        let theirs = found.entries.last().map(|last| last.hash);
        assert_eq!((found.entries.len(), theirs, found.at), (self.rows.len(), self.tip, self.clock.max(found.at)));
        let mut updates = BTreeMap::new();
        for kept in found.updates {
            let mine = &self.updates[&(kept.ticket, kept.client.clone())].parameters;
            kept.check(mine.layout()).expect("a kept update has its digest");
            assert_eq!(kept.load(mine.layout()).expect("a kept update can be read"), *mine);
            updates.insert((kept.ticket, kept.client), ());
        }
        assert_eq!(updates.len(), self.updates.len(), "the same updates are kept");
    }
}

impl Stored {
    fn with_a_flipped_bit(&self, bit: u64) -> Self {
        let mut stored = self.clone();
        let at = |len: usize| usize::try_from(bit / 8 % len as u64).expect("below a length");
        match bit % 16 {
            0 => stored.epoch ^= 1 << (bit % 63),
            1 => stored.sequence ^= 1 << (bit % 63),
            2..8 => {
                let at = at(stored.hash.len());
                stored.hash[at] ^= 1 << (bit % 8);
            }
            _ => {
                let mut bytes = stored.body.into_bytes();
                let at = at(bytes.len());
                // The seven lower bits of ASCII text: SQLite would refuse what is no UTF-8 before we see it.
                bytes[at] ^= 1 << (bit % 7);
                stored.body = String::from_utf8(bytes).expect("ASCII stays ASCII");
            }
        }
        stored
    }
}

fn checked(kept: &Parameters, digest: Digest, flip: Option<u64>) -> Result<Parameters, String> {
    let mut read = kept.clone();
    if let Some(bit) = flip {
        let mut bytes = kept.bytes().to_vec();
        let at = usize::try_from(bit / 8 % bytes.len() as u64).expect("below a length");
        bytes[at] ^= 1 << (bit % 8);
        read = Parameters::new(kept.layout().clone(), bytes.into()).expect("the length is the same");
    }
    let found = read.digest();
    if found == digest {
        Ok(read)
    } else {
        Err(format!("its digest is {}, the journal says {}", found.short(), digest.short()))
    }
}

/// The models of a simulated disk are never let go.
fn retained(row: &Row) -> Option<Retained> {
    let is_version = matches!(row, Row::ModelCommitted { .. } | Row::RunCreated { .. });
    is_version.then(|| Retained { optimizer: blake3::hash(&[]).into(), kept_from: None })
}
