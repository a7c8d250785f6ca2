//! The one file that speaks SQL: entries in, entries out.
//!
//! Write-ahead logging with `synchronous=FULL`: a transaction is one fsync of the log.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};
use tributary_common::time::Time;

use super::super::{Durability, Error};
use super::entry::{Columns, Entry};

/// "trib" in ASCII: lets `file` and SQLite's own tools tell a journal from other databases.
const APPLICATION_ID: i32 = 0x7472_6962;

/// The layout of the tables below; a journal of another one is refused by its number.
const FORMAT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE rows (
        sequence INTEGER PRIMARY KEY,
        epoch    INTEGER NOT NULL,
        body     TEXT NOT NULL,
        hash     BLOB NOT NULL
    ) STRICT;
    CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 0), at INTEGER NOT NULL) STRICT;
    INSERT INTO clock VALUES (0, 0);
";

#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    connection: Connection,
}

fn sql(path: &Path) -> impl Fn(rusqlite::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Journal { path: path.clone(), why: error.to_string() }
}

/// SQLite's integers are signed; ours stay below 2^63 for 292 years of nanoseconds.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Table {
    /// A new journal's tables; there must be none at `path`.
    pub(super) fn create(path: &Path, durability: Durability) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let table = Self::connect(path, flags)?;
        table.prepare(durability)?;
        table
            .connection
            .execute_batch(&format!(
                "PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}; BEGIN; {TABLES} COMMIT;"
            ))
            .map_err(sql(path))?;
        Ok(table)
    }

    /// The tables of a journal that is written on.
    pub(super) fn open(path: &Path, durability: Durability) -> Result<Self, Error> {
        let table = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        table.check_format()?;
        table.prepare(durability)?;
        Ok(table)
    }

    /// The tables of a journal that is only looked at; somebody else may write on it meanwhile.
    pub(super) fn look(path: &Path) -> Result<Self, Error> {
        let table = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        table.check_format()?;
        Ok(table)
    }

    /// Whether the journal at `path` has no row: not even its tables may be there.
    pub(super) fn is_blank(path: &Path) -> Result<bool, Error> {
        let table = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let count = |of: &str| {
            let counted = format!("SELECT count(*) FROM {of}");
            table.connection.query_row(&counted, [], |row| row.get::<_, i64>(0)).map_err(sql(path))
        };
        Ok(count("sqlite_schema")? == 0 || count("rows")? == 0)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, Error> {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        Ok(Self { path: path.to_owned(), connection: connection.map_err(sql(path))? })
    }

    fn check_format(&self) -> Result<(), Error> {
        let found = self.connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
        let found = found.map_err(sql(&self.path))?;
        if found == FORMAT {
            return Ok(());
        }
        let why = format!("its format is {found}, this version of the software reads {FORMAT}");
        Err(Error::Broken { path: self.path.clone(), why })
    }

    fn prepare(&self, durability: Durability) -> Result<(), Error> {
        let synchronous = match durability {
            Durability::Power => "FULL",
            Durability::Process => "OFF",
        };
        let mode = self.connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get::<_, String>(0));
        let mode = mode.map_err(sql(&self.path))?;
        if mode != "wal" {
            let why = format!("this file system does not carry a write-ahead log (SQLite chose `{mode}`)");
            return Err(Error::Journal { path: self.path.clone(), why });
        }
        let set = format!("PRAGMA synchronous={synchronous};");
        self.connection.execute_batch(&set).map_err(sql(&self.path))
    }

    /// Keeps entries and the clock in one transaction: all of them or none.
    pub(super) fn insert(&mut self, entries: &[(Entry, String)], at: Time) -> Result<(), Error> {
        let mut insert = || {
            let transaction = self.connection.transaction()?;
            {
                let mut row = transaction.prepare_cached("INSERT INTO rows VALUES (?1, ?2, ?3, ?4)")?;
                for (entry, text) in entries {
                    row.execute(params![signed(entry.sequence), signed(entry.epoch), text, entry.hash.0])?;
                }
                transaction.prepare_cached("UPDATE clock SET at = ?1")?.execute([signed(at.0)])?;
            }
            transaction.commit()
        };
        insert().map_err(sql(&self.path))
    }

    /// The run's clock when it was last kept.
    pub(super) fn clock(&self) -> Result<Time, Error> {
        let at = self.connection.query_row("SELECT at FROM clock", [], |row| row.get::<_, i64>(0));
        Ok(Time(u64::try_from(at.map_err(sql(&self.path))?).unwrap_or(0)))
    }

    /// Every entry, oldest first, each checked against the chain.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let mut previous = Entry::ORIGIN;
        let mut read = || {
            let mut statement =
                self.connection.prepare("SELECT sequence, epoch, body, hash FROM rows ORDER BY sequence")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (sequence, epoch): (i64, i64) = (row.get(0)?, row.get(1)?);
                let (body, hash): (String, Vec<u8>) = (row.get(2)?, row.get(3)?);
                let columns = Columns { sequence, epoch, body: &body, hash: &hash };
                match Entry::read(entries.len() as u64, previous, columns) {
                    Ok(entry) => {
                        previous = entry.hash;
                        entries.push(entry);
                    }
                    Err(why) => return Ok(Some(why)),
                }
            }
            Ok(None)
        };
        match read().map_err(sql(&self.path))? {
            None => Ok(entries),
            Some(why) => Err(Error::Broken { path: self.path.clone(), why: format!("row {}: {why}", entries.len()) }),
        }
    }
}
