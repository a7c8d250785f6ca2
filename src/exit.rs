//! Exit codes, and what a failed command says.

pub(crate) use tributary_client::cli::{Failure, INTERRUPTED, INVALID, OK, RUN_FAILED, USAGE};

/// The run ended below `evaluate.gate`.
pub(crate) const GATE_NOT_MET: u8 = 6;

/// What went wrong with a run's folder, and what to do.
pub(crate) fn of_store(error: &tributary_coordinator::store::Error) -> Failure {
    Failure::new(INVALID, error).with_hint(error.hint())
}

/// What went wrong with a report, and what to do.
pub(crate) fn of_report(error: &crate::report::Error) -> Failure {
    Failure::new(INVALID, error).with_hint(Some(error.hint()))
}
