//! Finished updates on disk: each is safe here before its first byte is sent, and goes when a receipt came or its work is
//! over. A client that was killed gives what it had finished instead of training again.
//!
//! A file holds the offer that it answers and the update's header, as the frames that they travel in, then the update.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tributary_common::id::{Attempt, Round, RunId, Ticket};
use tributary_common::message::{Offer, Put, Request, ToClient, Wire};
use tributary_common::parameters::{Layout, Parameters};
use tributary_common::wire::frame::{self, Frame, HEADER_BYTES};

/// Updates that are kept at once: the one that waits for its receipt, and one of another run.
pub const UPDATES_MAX: usize = 2;

const EXTENSION: &str = "update";

/// A folder of finished updates; one client's alone.
#[derive(Clone, Debug)]
pub struct Outbox(PathBuf);

/// An update that an earlier process finished.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Restored {
    pub(super) offer: Offer,
    pub(super) header: Put,
    pub(super) update: Parameters,
}

impl Outbox {
    /// The outbox in `folder`, which is made if it is not there. What a process did not finish writing is removed.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(path)?;
            }
        }
        Ok(Self(folder.to_owned()))
    }

    /// Keeps a finished update: when this returns, it outlives a loss of power. Older ones above the cap go.
    pub(super) fn keep(&self, run: RunId, offer: &Offer, header: &Put, update: &Parameters) -> io::Result<()> {
        let mut others = self.finished()?;
        others.retain(|other| (other.run, other.ticket) != (run, offer.ticket));
        for old in others.iter().rev().skip(UPDATES_MAX - 1) {
            self.forget(old.run, old.ticket)?;
        }
        let target = self.path(run, offer.ticket);
        let beside = target.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&frame_of(&ToClient::Offer(offer.clone()))?)?;
        file.write_all(&frame_of(&Request::Put(Box::new(header.clone())))?)?;
        file.write_all(update.bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &target)?;
        File::open(&self.0)?.sync_all()
    }

    /// The update that was finished last.
    pub(super) fn newest(&self) -> io::Result<Option<(RunId, Ticket)>> {
        Ok(self.finished()?.last().map(|last| (last.run, last.ticket)))
    }

    /// The newest update for `run`, for a model of this layout.
    pub(super) fn restore(&self, run: RunId, layout: &Arc<Layout>) -> io::Result<Option<Restored>> {
        let Some(last) = self.finished()?.into_iter().rev().find(|finished| finished.run == run) else {
            return Ok(None);
        };
        let restored = parse(&fs::read(self.path(run, last.ticket))?, last.ticket, layout);
        if restored.is_err() {
            self.forget(run, last.ticket)?;
        }
        restored.map(Some)
    }

    /// Its work is over.
    pub(super) fn forget(&self, run: RunId, ticket: Ticket) -> io::Result<()> {
        match fs::remove_file(self.path(run, ticket)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, run: RunId, ticket: Ticket) -> PathBuf {
        let work = match ticket {
            Ticket::Train { round, attempt } => format!("{round}-{attempt}"),
            Ticket::Evaluate { version } => format!("evaluation-{version}"),
        };
        self.0.join(format!("{run}-{work}.{EXTENSION}"))
    }

    /// What is here, oldest first. Files of other names are not ours.
    fn finished(&self) -> io::Result<Vec<Finished>> {
        let mut finished = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if let Some((run, ticket)) = entry.file_name().to_str().and_then(name) {
                finished.push(Finished { at: entry.metadata()?.modified()?, ticket, run });
            }
        }
        // Within a run the work tells: a clock may jump. Runs come in the order of the last that was finished for each.
        let mut last = BTreeMap::new();
        for one in &finished {
            let at = last.entry(one.run).or_insert(one.at);
            *at = (*at).max(one.at);
        }
        finished.sort_unstable_by_key(|one| (last[&one.run], one.run, one.ticket));
        Ok(finished)
    }
}

struct Finished {
    at: SystemTime,
    ticket: Ticket,
    run: RunId,
}

/// The run and the work in a file's name.
fn name(name: &str) -> Option<(RunId, Ticket)> {
    let mut parts = name.strip_suffix(EXTENSION)?.strip_suffix('.')?.split('-');
    let (run, round, attempt) = (parts.next()?, parts.next()?, parts.next()?);
    if run.len() != 32 || parts.next().is_some() {
        return None;
    }
    let run = u128::from_str_radix(run, 16).ok()?.to_be_bytes();
    let ticket = Ticket::Train { round: Round(round.parse().ok()?), attempt: Attempt(attempt.parse().ok()?) };
    Some((RunId(run), ticket))
}

fn frame_of(message: &impl Wire) -> io::Result<Vec<u8>> {
    message.to_frame().map(|frame| frame.to_bytes()).map_err(io::Error::other)
}

fn parse(bytes: &[u8], ticket: Ticket, layout: &Arc<Layout>) -> io::Result<Restored> {
    let bad = |why: &str| io::Error::new(ErrorKind::InvalidData, why.to_owned());
    let (offer, rest) = split(bytes)?;
    let (header, rest) = split(rest)?;
    let ToClient::Offer(offer) = offer else { return Err(bad("it answers no offer")) };
    let Request::Put(header) = header else { return Err(bad("it has no header")) };
    let update = Parameters::new(Arc::clone(layout), rest.to_vec().into()).map_err(io::Error::other)?;
    if update.digest() != header.digest || offer.ticket != ticket || header.ticket != ticket {
        return Err(bad("its digest is not the one in its header"));
    }
    Ok(Restored { offer, header: *header, update })
}

fn split<T: Wire>(bytes: &[u8]) -> io::Result<(T, &[u8])> {
    let short = || io::Error::new(ErrorKind::UnexpectedEof, "it ends early");
    let (first, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(short)?;
    let (len, tag) = frame::header(*first).map_err(io::Error::other)?;
    let (body, rest) = rest.split_at_checked(len).ok_or_else(short)?;
    let message = T::of_frame(&Frame { tag, body: body.to_vec() }).map_err(io::Error::other)?;
    Ok((message, rest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tributary_common::Digest;
    use tributary_common::id::{Slot, Version};
    use tributary_common::parameters::Dtype;

    const RUN: RunId = RunId([7; 16]);

    fn update(round: u64) -> Restored {
        let layout = Layout::new([("w", Dtype::F32, vec![4])]).unwrap();
        let update = Parameters::zeros(layout);
        let ticket = Ticket::Train { round: Round(round), attempt: Attempt(1) };
        let bytes = update.bytes().len() as u64;
        let offer = Offer { ticket, slot: Slot(0), version: Version(round), model: Digest([1; 32]), bytes, left_ms: 5 };
        let digest = update.digest();
        let header = Put { ticket, version: Version(round), digest, bytes, weight: 3 };
        Restored { offer, header, update }
    }

    fn keep(outbox: &Outbox, run: RunId, round: u64) {
        let one = update(round);
        outbox.keep(run, &one.offer, &one.header, &one.update).unwrap();
    }

    fn restore(outbox: &Outbox, run: RunId) -> io::Result<Option<Restored>> {
        outbox.restore(run, update(1).update.layout())
    }

    #[test]
    fn an_update_is_restored_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&folder.path().join("made")).unwrap();
        assert_eq!(restore(&outbox, RUN).unwrap(), None);
        keep(&outbox, RUN, 3);
        let outbox = Outbox::open(&folder.path().join("made")).unwrap();
        assert_eq!(outbox.newest().unwrap(), Some((RUN, update(3).offer.ticket)));
        assert_eq!(restore(&outbox, RUN).unwrap(), Some(update(3)));
        assert_eq!(restore(&outbox, RunId([8; 16])).unwrap(), None, "another run's update is not this run's");
        outbox.forget(RUN, update(3).offer.ticket).unwrap();
        outbox.forget(RUN, update(3).offer.ticket).unwrap();
        assert_eq!(outbox.newest().unwrap(), None);
    }

    /// What goes wrong without it: an outbox fills a device's disk with updates that nobody waits for.
    #[test]
    fn the_outbox_holds_two_updates_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        for round in 1..=4 {
            keep(&outbox, RUN, round);
            assert!(fs::read_dir(folder.path()).unwrap().count() <= UPDATES_MAX);
            assert_eq!(restore(&outbox, RUN).unwrap(), Some(update(round)));
        }
    }

    /// What goes wrong without it: the clock is set back, and the update of an earlier round is given in the place of the last.
    #[test]
    fn the_last_work_is_the_newest_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        let other = RunId([9; 16]);
        for (run, round, hours) in [(other, 9, 2), (RUN, 1, 3), (RUN, 2, 1)] {
            keep(&outbox, run, round);
            let file = File::options().write(true).open(outbox.path(run, update(round).offer.ticket)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600)).unwrap();
        }
        assert_eq!(outbox.newest().unwrap(), Some((RUN, update(2).offer.ticket)));
        assert_eq!(restore(&outbox, RUN).unwrap(), Some(update(2)));
    }

    #[test]
    fn torn_and_damaged_files_are_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        keep(&outbox, RUN, 1);
        let path = outbox.path(RUN, update(1).offer.ticket);
        let whole = fs::read(&path).unwrap();
        fs::write(path.with_extension("new"), &whole[..9]).unwrap();
        assert_eq!(restore(&Outbox::open(folder.path()).unwrap(), RUN).unwrap(), Some(update(1)));
        for end in [0, 3, 20, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(restore(&outbox, RUN).is_err(), "{end} of {} bytes", whole.len());
            assert!(!path.exists(), "what cannot be given is not kept");
        }
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(&path, damaged).unwrap();
        assert!(restore(&outbox, RUN).is_err());
    }
}
