//! What an authority has issued: one line a certificate, written before the certificate leaves. What does not stand here
//! cannot be taken back.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tributary_common::identity::Identity;

use crate::serial::Serial;
use crate::{Error, files};

/// The file in the authority's folder.
const FILE: &str = "issued";

/// The largest ledger, in bytes: about a hundred thousand certificates that have not expired.
const BYTES_MAX: u64 = 16 << 20;

/// Members' names are nobody else's business.
const MODE: u32 = 0o600;

/// One certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) serial: Serial,
    pub(crate) expires: SystemTime,
    pub(crate) identity: Identity,
}

impl Entry {
    fn line(&self) -> String {
        let seconds = self.expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        format!("{} {seconds} {}\n", self.serial, self.identity)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (serial, seconds, identity) = (words.next()?, words.next()?, words.next()?);
        let expires = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?;
        let is_whole = words.next().is_none();
        is_whole.then_some(Self { serial: Serial::from_hex(serial)?, expires, identity: identity.parse().ok()? })
    }
}

/// The ledger of an authority's folder. Whoever changes it holds the folder's lock.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: PathBuf,
    bytes_max: u64,
}

impl Ledger {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { file: folder.join(FILE), bytes_max: BYTES_MAX }
    }

    /// Adds a line and waits for the disk. When the ledger is full, those that have expired at `now` make room.
    pub(crate) fn append(&self, entry: &Entry, now: SystemTime) -> Result<(), Error> {
        let io = |source| Error::Io { file: self.file.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(MODE);
        let line = entry.line();
        let mut file = options.open(&self.file).map_err(io)?;
        let mut end = whole_lines(&mut file).map_err(io)?;
        if end + line.len() as u64 > self.bytes_max {
            self.compact(now)?;
            file = options.open(&self.file).map_err(io)?;
            end = whole_lines(&mut file).map_err(io)?;
        }
        if end + line.len() as u64 > self.bytes_max {
            return Err(self.broken(format!("it is full: {} bytes of certificates that have not expired", end)));
        }
        file.set_len(end).map_err(io)?;
        file.seek(SeekFrom::Start(end)).map_err(io)?;
        file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        if end == 0 { files::sync_folder_of(&self.file) } else { Ok(()) }
    }

    /// Everything that was issued, oldest first; what expired may be missing.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, Error> {
        let text = files::read_if_there(&self.file, self.bytes_max)?.unwrap_or_default();
        // A line without its end was cut off by a crash: its certificate never left.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .enumerate()
            .map(|(index, line)| {
                Entry::parse(line).ok_or_else(|| self.broken(format!("line {} is no certificate", index + 1)))
            })
            .collect()
    }

    fn compact(&self, now: SystemTime) -> Result<(), Error> {
        let kept: String = self.entries()?.iter().filter(|entry| entry.expires > now).map(Entry::line).collect();
        files::replace_private(&self.file, &kept)
    }

    fn broken(&self, why: String) -> Error {
        Error::Broken { file: self.file.clone(), why }
    }
}

/// Where the last whole line ends.
fn whole_lines(file: &mut std::fs::File) -> std::io::Result<u64> {
    // A line is far shorter: serial number, seconds and an identity of two names.
    const LINE_BYTES_MAX: u64 = 512;
    let len = file.metadata()?.len();
    let from = len.saturating_sub(LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(LINE_BYTES_MAX).read_to_end(&mut tail)?;
    Ok(tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| from + at as u64 + 1))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    fn entry(name: &str, expires: SystemTime) -> Entry {
        let identity = format!("tributary://north/client/{name}").parse().unwrap();
        Entry { serial: Serial::random().unwrap(), expires, identity }
    }

    #[test]
    fn lines_come_back_in_order_and_a_torn_one_never_was() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path());
        assert_eq!(ledger.entries().unwrap(), []);
        let (a, b, c) = (entry("a", now()), entry("b", now()), entry("c", now()));
        ledger.append(&a, now()).unwrap();
        ledger.append(&b, now()).unwrap();
        // What a power cut leaves of a line.
        let torn = format!("{}{}", fs::read_to_string(&ledger.file).unwrap(), &c.line()[..30]);
        fs::write(&ledger.file, torn).unwrap();
        assert_eq!(ledger.entries().unwrap(), [a.clone(), b.clone()]);
        ledger.append(&c, now()).unwrap();
        assert_eq!(ledger.entries().unwrap(), [a, b, c]);
    }

    #[test]
    fn a_changed_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path());
        for bad in ["x", "00 5 tributary://north/client/a b", "00 5 http://north/client/a", "00 -5 a", "zz 5 a"] {
            fs::write(&ledger.file, format!("{}{bad}\n", entry("a", now()).line())).unwrap();
            assert!(ledger.entries().unwrap_err().to_string().contains("line 2"), "{bad}");
        }
    }

    #[test]
    fn expired_certificates_make_room_and_the_others_never_do() {
        let folder = tempfile::tempdir().unwrap();
        let old = entry("a", now() - DAY);
        let ledger = Ledger { bytes_max: 3 * old.line().len() as u64, ..Ledger::new(folder.path()) };
        for one in [&old, &entry("b", now() + DAY), &old] {
            ledger.append(one, now()).unwrap();
        }
        ledger.append(&entry("c", now() + DAY), now()).unwrap();
        ledger.append(&entry("d", now() + DAY), now()).unwrap();
        let names: Vec<_> =
            ledger.entries().unwrap().iter().map(|entry| entry.identity.name.as_str().to_owned()).collect();
        assert_eq!(names, ["b", "c", "d"]);
        assert!(ledger.append(&entry("e", now() + DAY), now()).unwrap_err().to_string().contains("it is full"));
        assert_eq!(ledger.entries().unwrap().len(), 3);
    }
}
