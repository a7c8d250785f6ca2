//! One update on its way in: what of it is here, and what was found out about that. It outlives the connection.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempPath;
use tributary_common::Digest;
use tributary_common::net::GRAIN_BYTES;

use super::spool::{Spool, Spools};
use crate::screen::Screen;

/// What is read of a file of an earlier process at once, in bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// An update of which some bytes may be here.
#[derive(Debug)]
pub(super) struct Upload {
    /// What every transfer of the update begins with.
    blank: Arc<Screen>,
    state: State,
}

#[derive(Debug)]
enum State {
    Coming {
        spool: Spool,
        screen: Box<Screen>,
        held: u64,
        /// Bytes that an earlier transfer brought.
        resumed: u64,
    },
    /// Nobody sends; the file is closed. What was found out about it is not known in a new process.
    Left { path: TempPath, known: Option<(Box<Screen>, u64)> },
    /// Nothing is here.
    Nothing,
    /// It was handed on.
    Over,
}

/// What is wrong with an update that came whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is not what was announced, and came on one stream.
    Digest(Digest),
    /// It is not what was announced, but not all of it came just now: nothing of it is held any more.
    Patched,
}

impl Upload {
    /// Nothing is here yet.
    pub(super) const fn nothing(blank: Arc<Screen>) -> Self {
        Self { blank, state: State::Nothing }
    }

    /// What an earlier process left in a file.
    pub(super) const fn left(blank: Arc<Screen>, path: TempPath) -> Self {
        Self { blank, state: State::Left { path, known: None } }
    }

    /// Whether the update is here already and somewhere else.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Gets ready to take the rest of `bytes`; returns how many are here. `file` is where a large update goes.
    pub(super) fn begin(&mut self, spools: &Spools, bytes: u64, file: Option<PathBuf>) -> io::Result<u64> {
        self.park();
        let taken_up = match std::mem::replace(&mut self.state, State::Nothing) {
            State::Coming { spool, screen, held, .. } => Some((spool, screen, held)),
            // A file that cannot be read again is no loss beyond its bytes.
            State::Left { path, known } => self.reopen(path, known, bytes).unwrap_or_default(),
            State::Nothing | State::Over => None,
        };
        let (spool, screen, held) = match taken_up {
            Some(taken_up) => taken_up,
            None => (spools.open(bytes, file)?, Box::new(Screen::clone(&self.blank)), 0),
        };
        self.state = State::Coming { spool, screen, held, resumed: held };
        Ok(held)
    }

    /// A file goes on where it ended; `None` if it cannot be the beginning of what was announced.
    fn reopen(
        &self,
        path: TempPath,
        known: Option<(Box<Screen>, u64)>,
        bytes: u64,
    ) -> io::Result<Option<(Spool, Box<Screen>, u64)>> {
        let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
        if let Some((screen, held)) = known {
            // What was written and not counted, because the transfer ended between the two, comes again.
            file.set_len(held)?;
            return Ok(Some((Spool::of_file(file, path), screen, held)));
        }
        let held = file.metadata()?.len() / GRAIN_BYTES as u64 * GRAIN_BYTES as u64;
        if held > bytes {
            return Ok(None);
        }
        file.set_len(held)?;
        let mut screen = Box::new(Screen::clone(&self.blank));
        let (mut left, mut block) = (usize::try_from(held).map_err(io::Error::other)?, vec![0; BLOCK_BYTES]);
        while left > 0 {
            let count = left.min(BLOCK_BYTES);
            file.read_exact(&mut block[..count])?;
            if screen.take(&block[..count]).is_err() {
                return Ok(None);
            }
            left -= count;
        }
        Ok(Some((Spool::of_file(file, path), screen, held)))
    }

    /// Takes the next block.
    ///
    /// # Errors
    /// The disk failed, or the update cannot count: then [`Upload::refusal`] says why.
    pub(super) fn take(&mut self, block: &[u8]) -> io::Result<()> {
        let State::Coming { spool, screen, held, .. } = &mut self.state else {
            unreachable!("only what was begun takes blocks")
        };
        spool.write(block)?;
        screen.take(block).map_err(io::Error::other)?;
        *held += block.len() as u64;
        Ok(())
    }

    /// Why the update cannot count, if that is known before its end.
    pub(super) fn refusal(&mut self) -> Option<String> {
        match &mut self.state {
            State::Coming { screen, .. } => screen.refusal(),
            State::Left { .. } | State::Nothing | State::Over => None,
        }
    }

    /// Hands on the update, with its norm. Whatever is found, nothing stays here.
    pub(super) fn finish(&mut self, announced: Digest) -> Result<(Spool, f64), Flaw> {
        let State::Coming { spool, screen, resumed, .. } = std::mem::replace(&mut self.state, State::Nothing) else {
            unreachable!("only what was begun ends")
        };
        let (digest, norm) = screen.finish();
        if digest == announced {
            self.state = State::Over;
            Ok((spool, norm))
        } else if resumed > 0 {
            Err(Flaw::Patched)
        } else {
            Err(Flaw::Digest(digest))
        }
    }

    /// Closes the file, if there is one: who is away costs no descriptor.
    pub(super) fn park(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Nothing) {
            State::Coming { spool, screen, held, resumed } => match spool.into_path() {
                Ok(path) => State::Left { path, known: Some((screen, held)) },
                Err(spool) => State::Coming { spool, screen, held, resumed },
            },
            other => other,
        };
    }

    /// Lets what is here survive the process, where it is in a file.
    pub(super) fn outlive(&mut self) {
        self.park();
        if let State::Left { path, .. } = &mut self.state {
            path.disable_cleanup(true);
        }
    }
}
