//! What people and programs see: results on standard output, talk and progress on standard error.

mod code;
mod progress;
mod summary;
mod table;
mod units;
mod wrap;

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use serde_json::Value;
use tributary_common::event::Event;

pub(crate) use code::code;
pub(crate) use progress::Progress;
pub(crate) use summary::{Ending, Summary};
pub(crate) use table::table;
pub(crate) use units::{bytes, duration, percent, plural};
pub(crate) use wrap::wrap;

use crate::arguments::Global;
use crate::exit::{Failure, RUN_FAILED};

/// What errors are wrapped to on a terminal, in columns: what nearly every terminal has.
const TERMINAL_WIDTH: usize = 80;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    JsonLines,
    Text,
}

/// Where everything that is said goes through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) is_quiet: bool,
    verbose: u8,
    is_terminal: bool,
    /// Why a result could not be written: the first time counts. One for the process, as standard output is.
    unwritten: &'static OnceLock<std::io::Error>,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let format = match (global.json, global.json_lines) {
            (true, _) => Format::Json,
            (_, true) => Format::JsonLines,
            (false, false) => Format::Text,
        };
        let is_terminal = std::io::stderr().is_terminal();
        let unwritten = Box::leak(Box::default());
        Self { format, is_quiet: global.quiet, verbose: global.verbose, is_terminal, unwritten }
    }

    /// Sends the libraries' log to standard error, as much of it as was asked for.
    pub(crate) fn log(self) {
        let level = match self.verbose {
            0 if self.is_quiet => tracing::Level::ERROR,
            0 => tracing::Level::WARN,
            1 => tracing::Level::INFO,
            _ => tracing::Level::DEBUG,
        };
        let filter = tracing_subscriber::EnvFilter::new(format!(
            "error,tributary={level},tributary_coordinator={level},tributary_client={level}"
        ));
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
        // A second logger in one process is a mistake of ours, and harmless.
        drop(subscriber.try_init());
    }

    /// Whether results go to a terminal.
    pub(crate) fn is_read_by_people(self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// A result, on standard output. A reader that went away ends the printing, not the run; what else keeps a result from
    /// being written, [`Output::end`] says.
    pub(crate) fn result(self, text: &str) {
        if let Err(error) = writeln!(std::io::stdout().lock(), "{text}")
            && error.kind() != ErrorKind::BrokenPipe
        {
            // The first failure says why; those after it say the same.
            drop(self.unwritten.set(error));
        }
    }

    /// Nothing, unless a result could not be written.
    pub(crate) fn end(self) -> Result<(), Failure> {
        self.unwritten.get().map_or(Ok(()), |error| {
            Err(Failure::new(RUN_FAILED, format!("could not write the result: {error}"))
                .with_hint(Some("see that there is room where standard output goes")))
        })
    }

    /// A result with its name before it, aligned with others.
    pub(crate) fn fact(self, name: &str, text: &str) {
        self.result(format!("{name:<16}{text}").trim_end());
    }

    /// A document, on standard output: on one line where lines are asked for, indented otherwise.
    pub(crate) fn document(self, value: &Value) {
        self.result(&if self.format == Format::JsonLines { value.to_string() } else { format!("{value:#}") });
    }

    /// Talk, on standard error.
    pub(crate) fn say(self, text: &str) {
        if !self.is_quiet {
            drop(writeln!(std::io::stderr().lock(), "{text}"));
        }
    }

    /// Something for the eyes of a person at a terminal only.
    pub(crate) fn show(self, draw: impl FnOnce() -> Option<String>) {
        if self.is_terminal
            && self.format == Format::Text
            && let Some(text) = draw()
        {
            self.say(&text);
        }
    }

    /// An event, where events are asked for.
    pub(crate) fn event(self, event: &Event) {
        if self.format == Format::JsonLines {
            let line = serde_json::to_string(event).expect("events are plain data");
            self.result(&line);
        }
    }

    /// Progress of a run: bars on a terminal, lines elsewhere.
    pub(crate) fn progress(self) -> Progress {
        Progress::new(self, self.is_terminal && !self.is_quiet && self.format == Format::Text)
    }

    /// What went wrong, and what to do.
    pub(crate) fn failure(self, failure: &Failure) {
        let lines = |first: &str, text: &str| {
            if !self.is_terminal {
                return format!("{first}{text}");
            }
            // A terminal would break words; whoever reads a log wants whole lines.
            let lines = wrap(text, TERMINAL_WIDTH - first.len());
            format!("{first}{}", lines.join(&format!("\n{:1$}", "", first.len())))
        };
        let mut text = lines("error: ", &failure.text);
        if let Some(hint) = &failure.hint {
            text = format!("{text}\n{}", lines("  hint: ", hint));
        }
        drop(writeln!(std::io::stderr().lock(), "{text}"));
    }
}
