//! Exit codes, and what a failed command says.

use tributary_common::config;

/// All went well.
pub(crate) const OK: u8 = 0;
/// The run failed.
pub(crate) const RUN_FAILED: u8 = 1;
/// The arguments are wrong.
pub(crate) const USAGE: u8 = 2;
/// The run file, the data or a file of a run is wrong.
pub(crate) const INVALID: u8 = 3;
/// The coordinator cannot be reached.
pub(crate) const UNREACHABLE: u8 = 4;
/// The other side does not let this identity in.
pub(crate) const NOT_AUTHORISED: u8 = 5;
/// The run ended below `evaluate.gate`.
pub(crate) const GATE_NOT_MET: u8 = 6;
/// Stopped by a signal, after a clean end.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command failed: what was tried and found, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, text: impl std::fmt::Display) -> Self {
        Self { code, text: text.to_string(), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::new(INVALID, &error).with_hint(error.hint())
    }
}

impl From<tributary_client::supply::Error> for Failure {
    fn from(error: tributary_client::supply::Error) -> Self {
        let hint = error.hint();
        Self::new(INVALID, error).with_hint(hint)
    }
}

impl From<tributary_client::data::Error> for Failure {
    fn from(error: tributary_client::data::Error) -> Self {
        let hint = error.hint();
        Self::new(INVALID, error).with_hint(hint)
    }
}

impl From<tributary_certs::Error> for Failure {
    fn from(error: tributary_certs::Error) -> Self {
        let hint = error.hint();
        Self::new(NOT_AUTHORISED, error).with_hint(hint)
    }
}

impl From<tributary_coordinator::store::Error> for Failure {
    fn from(error: tributary_coordinator::store::Error) -> Self {
        let hint = error.hint();
        Self::new(INVALID, &error).with_hint(hint)
    }
}

impl From<crate::report::Error> for Failure {
    fn from(error: crate::report::Error) -> Self {
        let hint = error.hint();
        Self::new(INVALID, error).with_hint(Some(hint))
    }
}
