//! What earlier processes told of a run: which rounds' lines are out, so that none is told twice and none is missing.
//!
//! Lines are written without fsync: what a power failure takes of them is told again, as far as the journal knows it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use tributary_common::event::{Event, RoundLine};
use tributary_common::id::Version;

use super::{Error, Kept, io};

/// Marks the lines that are parsed; the others are many more.
const ROUND: &[u8] = b"\"event\":\"round\"";

/// The longest line that is looked at, in bytes: a round's has some hundreds.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How much is looked through at a time for the end of the last whole line, in bytes.
const BLOCK: u64 = 4096;

/// The lines of the rounds that made `versions`, oldest first. What a rollback took back is not among them, unless it was
/// made again as it was.
pub(super) fn rounds(path: &Path, versions: &[Kept]) -> Result<Vec<RoundLine>, Error> {
    let mut reader = BufReader::new(File::open(path).map_err(io(path))?);
    let digests: BTreeMap<Version, _> = versions.iter().map(|kept| (kept.version, kept.model)).collect();
    let mut told = BTreeMap::new();
    let mut line = Vec::new();
    while (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(io(path))? > 0 {
        // A piece of a longer line does not parse, and is no round's.
        let is_round = line.windows(ROUND.len()).any(|part| part == ROUND);
        if is_round
            && let Ok(Event::Round(round)) = serde_json::from_slice(&line)
            && digests.get(&round.version) == Some(&round.model)
        {
            told.insert(round.version, round);
        }
        line.clear();
    }
    Ok(told.into_values().collect())
}

/// Cuts off a line that was not written to its end, so that the next one is not taken for its rest.
pub(super) fn mend(path: &Path) -> Result<(), Error> {
    let mend = || {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut end = file.metadata()?.len();
        let mut block = Vec::new();
        while end > 0 {
            let begin = end.saturating_sub(BLOCK);
            block.clear();
            file.seek(SeekFrom::Start(begin))?;
            (&mut file).take(end - begin).read_to_end(&mut block)?;
            match block.iter().rposition(|byte| *byte == b'\n') {
                Some(last) => return file.set_len(begin + last as u64 + 1),
                None => end = begin,
            }
        }
        file.set_len(0)
    };
    mend().map_err(io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tributary_common::Digest;

    use crate::record::tests::line;

    fn kept(version: u64, digest: u8) -> Kept {
        Kept { version: Version(version), model: Digest([digest; 32]), optimizer: Digest([0; 32]) }
    }

    /// What goes wrong without it: the line behind a torn one is lost with it, and rounds are told twice or never.
    #[test]
    fn lines_of_the_versions_at_hand_are_found_behind_torn_and_foreign_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut file = File::create(&path).unwrap();
        let mut tell =
            |line: &RoundLine| writeln!(file, "{}", serde_json::to_string(&Event::Round(line.clone())).unwrap());
        tell(&line(1, 1)).unwrap();
        tell(&line(2, 9)).unwrap();
        tell(&line(2, 2)).unwrap();
        // Longer than anything that is looked at, with what looks like a round inside.
        writeln!(file, "{}\"event\":\"round\"", " ".repeat(100_000)).unwrap();
        let whole = file.metadata().unwrap().len();
        write!(file, "{{\"event\":\"round\",{}", "x".repeat(10_000)).unwrap();
        drop(file);
        mend(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
        mend(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
        let versions = [kept(0, 0), kept(1, 1), kept(2, 2), kept(3, 3)];
        assert_eq!(rounds(&path, &versions).unwrap(), [line(1, 1), line(2, 2)]);
        assert_eq!(rounds(&path, &versions[..2]).unwrap(), [line(1, 1)]);
    }

    #[test]
    fn a_file_of_one_torn_line_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, "x".repeat(9_000)).unwrap();
        mend(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
}
