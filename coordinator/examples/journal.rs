//! What the journal costs: `cargo run --release -p tributary-coordinator --example journal [FOLDER]`. Prints the disk's own
//! rate of fsync, then accepted updates a second by how many share a transaction, then how long a restart takes that finds
//! 1,000 accepted updates of 1 MB: opening, checking every digest, and adding them up again.
//!
//! FOLDER is where the measured files go, by default the system's folder for temporary files: it must be on the disk that
//! is meant.

#![expect(clippy::print_stdout, reason = "printing times is what this example is for")]
#![expect(clippy::disallowed_methods, reason = "measuring time is what this example is for")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tributary_common::Digest;
use tributary_common::id::{Attempt, ClientId, Round, RunId, Ticket};
use tributary_common::parameters::{Dtype, Layout};
use tributary_common::sum::{Sum, Weight};
use tributary_common::time::Time;
use tributary_coordinator::round::{Recorded, Row};
use tributary_coordinator::store::journal::{Brings, Item, Payload, Retained, updates_folder};
use tributary_coordinator::store::{Durability, Journal};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const TICKET: Ticket = Ticket::Train { round: Round(1), attempt: Attempt(0) };

/// A softmax regression on 64 features: 650 parameters.
const SMALL_BYTES: usize = 650 * 4;

/// How long each rate is measured.
const PERIOD: Duration = Duration::from_secs(2);

const LARGE_UPDATES: usize = 1_000;
const LARGE_VALUES: usize = 250_000;

fn main() -> Outcome<()> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("fsync of one appended page      {:8.0} a second", fsync_rate(&base)?);
    for group in [1, 8, 32, 256] {
        println!("accepted updates, {group:3} together   {:8.0} a second", accepted_rate(&base, group)?);
    }
    recovery(&base)
}

fn fsync_rate(base: &Path) -> Outcome<f64> {
    let mut file = tempfile::tempfile_in(base)?;
    rate(1, || {
        file.write_all(&[1; 4096])?;
        Ok(file.sync_data()?)
    })
}

/// Runs `one` for a while; each run counts `count`.
fn rate(count: usize, mut one: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let (began, mut n) = (Instant::now(), 0_u32);
    while began.elapsed() < PERIOD {
        one()?;
        n += 1;
    }
    Ok(f64::from(n) * f64::from(u32::try_from(count)?) / began.elapsed().as_secs_f64())
}

fn accepted(index: usize, digest: Digest, payload: Payload) -> Item {
    let client = ClientId::simulated(index, 10_000_000);
    let row = Row::UpdateAccepted { ticket: TICKET, client, weight: 600, digest };
    Item { recorded: Recorded { at: Time(0), row }, wall_ms: 0, brings: Brings::Update(payload) }
}

fn begin(folder: &Path) -> Outcome<Journal> {
    let mut journal = Journal::create(folder, Durability::Power)?;
    let row = Row::RunCreated { run: RunId([0; 16]), config: Digest([0; 32]), model: Digest([0; 32]) };
    let brings = Brings::Version(Retained { optimizer: Digest([0; 32]), kept_from: None });
    let created = Item { recorded: Recorded { at: Time(0), row }, wall_ms: 0, brings };
    journal.commit(vec![created], Time(0))?;
    Ok(journal)
}

fn accepted_rate(base: &Path, group: usize) -> Outcome<f64> {
    let folder = tempfile::tempdir_in(base)?;
    let mut journal = begin(folder.path())?;
    let update = Bytes::from(vec![1; SMALL_BYTES]);
    let mut n = 0;
    rate(group, || {
        let items = (n..n + group).map(|index| accepted(index, Digest([1; 32]), Payload::Bytes(update.clone())));
        let items = items.collect();
        n += group;
        Ok(journal.commit(items, Time(0))?)
    })
}

fn recovery(base: &Path) -> Outcome<()> {
    let folder = tempfile::tempdir_in(base)?;
    let layout = Layout::new([("w", Dtype::F32, vec![LARGE_VALUES])])?;
    let mut journal = begin(folder.path())?;
    let began = Instant::now();
    for index in 0..LARGE_UPDATES {
        let values: Vec<u8> = [(index as f32 / 1e3).to_le_bytes(); LARGE_VALUES].concat();
        let mut hasher = layout.hasher();
        let digest = hasher.update(&values).finalize().into();
        let mut file = tempfile::NamedTempFile::new_in(updates_folder(folder.path()))?;
        file.write_all(&values)?;
        let (file, path) = file.into_parts();
        journal.commit(vec![accepted(index, digest, Payload::File { file, path })], Time(0))?;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("accepted updates of 1 MB, alone {:8.0} a second", f64::from(u32::try_from(LARGE_UPDATES)?) / seconds);
    drop(journal);
    File::open(folder.path())?.sync_all()?;

    let began = Instant::now();
    let (_journal, found) = Journal::open(folder.path(), Durability::Power)?;
    let opened = began.elapsed();
    found.updates.iter().try_for_each(|update| update.check(&layout))?;
    let checked = began.elapsed();
    let mut sum = Sum::new(layout.count(), 40)?;
    for update in &found.updates {
        let (weight, mut at, mut result) = (Weight::new(600)?, 0, Ok(()));
        sum.admit(weight)?;
        update.read(|block| {
            if result.is_ok() {
                result = sum.fold_bytes(at, Dtype::F32, block, weight);
                at += block.len() / 4;
            }
        })?;
        result?;
    }
    let folded = began.elapsed();
    println!(
        "restart with {} updates of 1 MB: opened after {:.2} s, checked after {:.2} s, in the sum after {:.2} s",
        found.updates.len(),
        opened.as_secs_f64(),
        checked.as_secs_f64(),
        folded.as_secs_f64()
    );
    Ok(())
}
