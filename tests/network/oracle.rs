//! Who counted, by the committed models alone: client j's update is the basis vector e_j with weight 1, so a version that
//! n updates made differs from the one before by 1/n in the coordinate of each, once. In a second coordinate of each the
//! number of its training shows which of its updates that was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tributary_common::Digest;
use tributary_common::id::Ticket;
use tributary_common::parameters::safetensors;
use tributary_coordinator::round::Row;
use tributary_coordinator::store::{Journal, verify};

use super::weather::Weather;

/// A client was told that its update counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) client: usize,
    pub(crate) ticket: Ticket,
    /// The number of the training whose update it was.
    pub(crate) training: u64,
}

/// Checks the run in `folder` against what clients were told; how many updates were acknowledged, and how many versions
/// lack somebody.
pub(crate) fn check(folder: &Path, weather: &Weather, told: &[Acknowledged]) -> BTreeMap<&'static str, u64> {
    verify(folder).unwrap();
    let clients = weather.clients;
    let found = Journal::look(folder).unwrap();
    let values = |digest: Digest| -> Vec<f64> {
        let model = safetensors::read(&folder.join(format!("models/{digest}.safetensors"))).unwrap();
        model.bytes().chunks(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    let mut before = Vec::new();
    // By ticket: who counted, with which training.
    let mut counted: BTreeMap<Ticket, BTreeMap<usize, u64>> = BTreeMap::new();
    let mut accepted = 0;
    let mut aborted = BTreeSet::new();
    for recorded in found.rows() {
        match &recorded.row {
            Row::RunCreated { model, .. } => before = values(*model),
            Row::ModelCommitted { ticket, digest, weight, .. } => {
                let after = values(*digest);
                let share = 1.0 / f64::from(u32::try_from(*weight).unwrap());
                let times = |at: usize| whole((after[at] - before[at]) / share);
                let mut who = BTreeMap::new();
                for client in 0..clients {
                    match times(client) {
                        0 => {}
                        1 => _ = who.insert(client, times(clients + client)),
                        n => panic!("client {client} counts {n} times in {ticket}"),
                    }
                }
                assert_eq!(who.len() as u64, *weight, "{ticket} says it has weight {weight}, and {who:?} are in it");
                assert!(counted.insert(*ticket, who).is_none(), "{ticket} is committed twice");
                before = after;
            }
            Row::RoundAborted { ticket, .. } => _ = aborted.insert(*ticket),
            Row::UpdateAccepted { .. } => accepted += 1,
            Row::RolledBack { .. } | Row::RoundClosing { .. } | Row::RoundOpened { .. } => {}
        }
    }
    assert_eq!(counted.len() as u64, weather.rounds, "every round has its version");
    for Acknowledged { client, ticket, training } in told {
        let counts = counted.get(ticket).is_some_and(|who| who.get(client) == Some(training));
        let told = format!("client {client} was told that its training {training} counts in {ticket}");
        assert!(counts || aborted.contains(ticket), "{told}: {counted:?}");
    }
    let n_counted: u64 = counted.values().map(|who| who.len() as u64).sum();
    assert_eq!(accepted, n_counted + n_aborted(&found, &aborted), "what was accepted counts");
    let n_absent = counted.values().map(|who| u64::from(who.len() < N_LEAST)).sum();
    BTreeMap::from([("update acknowledged", told.len() as u64), ("round without somebody", n_absent)])
}

/// A number of times; rounding leaves a few units in the last place of it.
fn whole(value: f64) -> u64 {
    let rounded = value.round();
    assert!((value - rounded).abs() < 1e-6 && rounded >= 0.0, "{value} is no number of times");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole number")]
    let whole = rounded as u64;
    whole
}

/// The fewest clients of a scenario.
const N_LEAST: usize = 3;

/// Accepted updates of aborted attempts.
fn n_aborted(found: &tributary_coordinator::store::journal::Found, aborted: &BTreeSet<Ticket>) -> u64 {
    let of_aborted = found.rows().filter(|recorded| match &recorded.row {
        Row::UpdateAccepted { ticket, .. } => aborted.contains(ticket),
        _ => false,
    });
    of_aborted.count() as u64
}
