//! What the clients of a simulated run give: updates from which the aggregate tells who was counted, for what, how often.
//!
//! The update of client j is the basis vector `e_j` and two mixed coordinates; its weight is a number that belongs to its
//! ticket. In the weighted sum, coordinate j is therefore the weight of what was counted of client j: 0 if nothing was,
//! twice the weight if it was counted twice, another number if it was another round's. The mixed coordinates depend on the
//! order of additions unless the sum is exact.

use std::sync::Arc;

use tributary_common::Digest;
use tributary_common::id::{ClientId, Round, Seed, Ticket};
use tributary_common::parameters::{Dtype, Layout, Parameters};
use tributary_common::rng::{self, Purpose};

/// The most clients of a simulated run.
pub(super) const CLIENTS_MAX: usize = 6;

/// Coordinates without a client of their own.
pub(super) const MIXED: usize = 2;

/// What a client announces is below 2 to so many: what no update may weigh (2^32) is among it.
const ANNOUNCED_BITS: u64 = 36;

/// The largest weight: with it every sum of weights is exact in a double.
const WEIGHT_BELOW: u64 = 1 << 20;

/// A finished update.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Update {
    pub(super) ticket: Ticket,
    pub(super) weight: u64,
    pub(super) digest: Digest,
    pub(super) parameters: Parameters,
}

/// The model of every simulated run.
pub(super) fn layout() -> Arc<Layout> {
    Layout::new([("w", Dtype::F64, vec![CLIENTS_MAX + MIXED])]).expect("one small tensor")
}

/// How many examples client `index` says that it has, in its process of this number: whatever its updates then weigh, and of
/// every size as likely.
pub(super) fn announced(seed: u64, index: usize, life: u32) -> u64 {
    let client = ClientId::simulated(index, CLIENTS_MAX);
    // No update is for round 0.
    let mut stream = rng::stream(Seed(seed ^ (u64::from(life) << 32)), Round(0), Some(&client), Purpose::Batches);
    let bits = stream.below(ANNOUNCED_BITS);
    1 + stream.below(1 << bits)
}

/// The update of client `index` for `ticket`: the same however often it is computed. `variant` 0 is the honest one.
pub(super) fn update(layout: &Arc<Layout>, seed: u64, index: usize, ticket: Ticket, variant: u64) -> Update {
    let (round, attempt) = match ticket {
        Ticket::Train { round, attempt } => (round, attempt.0),
        Ticket::Evaluate { version } => (Round(version.0), u32::MAX),
    };
    let client = ClientId::simulated(index, CLIENTS_MAX);
    let key = Seed(seed ^ (u64::from(attempt) << 32) ^ (variant << 56));
    let mut stream = rng::stream(key, round, Some(&client), Purpose::Batches);
    let weight = 1 + stream.below(WEIGHT_BELOW - 1);
    let values = (0..CLIENTS_MAX + MIXED).map(|at| match at {
        _ if at >= CLIENTS_MAX => (stream.uniform() - 0.5) * 1000.0,
        _ if at == index => 1.0,
        _ => 0.0,
    });
    let parameters = Parameters::of_values(Arc::clone(layout), values.collect::<Vec<_>>());
    Update { ticket, weight, digest: parameters.digest(), parameters }
}
