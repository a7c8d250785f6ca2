//! What each role may say: one table, deny by default.

use tributary_common::id::Ticket;
use tributary_common::identity::Role;
use tributary_common::message::{Request, ToCoordinator};

/// The things that a peer can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Control,
    Get,
    PutUpdate,
    Renew,
    ReportCentral,
    ReportOwn,
}

const ALLOWED: &[(Role, Act)] = &[
    (Role::Client, Act::Control),
    (Role::Client, Act::Get),
    (Role::Client, Act::PutUpdate),
    (Role::Client, Act::Renew),
    (Role::Client, Act::ReportOwn),
    (Role::Evaluator, Act::Control),
    (Role::Evaluator, Act::Get),
    (Role::Evaluator, Act::Renew),
    (Role::Evaluator, Act::ReportCentral),
];

fn may(role: Role, act: Act) -> bool {
    ALLOWED.contains(&(role, act))
}

/// Whether `role` may say this on the control stream.
pub(super) fn may_say(role: Role, message: &ToCoordinator) -> bool {
    match message {
        ToCoordinator::Hello(_)
        | ToCoordinator::Ready(_)
        | ToCoordinator::Unfit { .. }
        | ToCoordinator::Accept { .. }
        | ToCoordinator::Decline { .. }
        | ToCoordinator::Progress { .. } => may(role, Act::Control),
    }
}

/// Whether `role` may ask for this.
pub(super) fn may_ask(role: Role, request: &Request) -> bool {
    match request {
        Request::Get { .. } => may(role, Act::Get),
        Request::Put(put) => matches!(put.ticket, Ticket::Train { .. }) && may(role, Act::PutUpdate),
        Request::Renew { .. } => may(role, Act::Renew),
        Request::Report { ticket, results } => {
            let is_central = results.central.is_some();
            let is_own = results.train.is_some() || results.local.is_some();
            matches!(ticket, Ticket::Evaluate { .. })
                && (!is_central || may(role, Act::ReportCentral))
                && (!is_own || may(role, Act::ReportOwn))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An evaluator that could train, or a client that could speak for the hold-out data, would poison silently.
    #[test]
    fn evaluators_do_not_train_and_clients_do_not_speak_for_the_hold_out() {
        assert!(!may(Role::Evaluator, Act::PutUpdate) && !may(Role::Client, Act::ReportCentral));
        assert!(!may(Role::Evaluator, Act::ReportOwn));
        for act in [Act::Control, Act::Get, Act::PutUpdate, Act::Renew, Act::ReportCentral, Act::ReportOwn] {
            assert!(!may(Role::Coordinator, act));
        }
    }
}
