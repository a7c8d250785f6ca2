//! Judges a run from outside: by what clients made and what they were told, by the rows that became durable, and by the
//! aggregates that versions were built from. It knows nothing of the machines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket, Version};
use tributary_common::parameters::{Layout, Parameters};
use tributary_common::sum::{BITS_DEFAULT, Sum, Weight};

use super::work::{CLIENTS_MAX, MIXED, Update};
use crate::round::{Quorum, Recorded, Row, Settings, WEIGHT_MAX, WeightShare};

/// How much later than its deadline a round may close, beside what clocks jumped and restarts gave back: two slow fsyncs.
pub(super) const LATE_MAX: Duration = Duration::from_secs(25);

/// Whose weight is its share to so much of an example may be found on either side of it.
const SHARE_TOLERANCE: f64 = 0.1;

/// Means of all coordinates, as the server optimiser read them.
pub(super) type Means = [f64; CLIENTS_MAX + MIXED];

/// A version that was built, before its row is durable.
#[derive(Clone, Debug)]
struct Built {
    ticket: Ticket,
    means: Means,
    digest: Digest,
}

/// Who is asked in a round, and the most that one update may weigh.
#[derive(Clone, Debug)]
struct Cohort {
    clients: Vec<ClientId>,
    weight_max: Option<u64>,
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    Aborted,
    Committed(BTreeMap<usize, Digest>),
}

/// How long a ticket has been open, on the coordinator's own clock while it serves.
#[derive(Clone, Copy, Debug)]
struct Open {
    ticket: Ticket,
    since: Duration,
    /// What restarts gave back and clocks jumped since then.
    allowed: Duration,
}

#[derive(Debug)]
pub(super) struct Oracle {
    quorum: Quorum,
    deadline: Duration,
    share: Option<WeightShare>,
    /// What clients announced last.
    announced: BTreeMap<ClientId, u64>,
    made: BTreeMap<(Ticket, usize), Vec<Update>>,
    received: BTreeMap<(Ticket, usize), Digest>,
    cohorts: BTreeMap<Ticket, Cohort>,
    /// Which of its updates the journal says was accepted.
    accepted: BTreeMap<(Ticket, ClientId), Digest>,
    built: BTreeMap<Version, Built>,
    ended: BTreeMap<Ticket, Ending>,
    version: Version,
    model: Parameters,
    open: Option<Open>,
    /// Updates in commits that count for less than what was stated.
    n_bounded: u64,
}

impl Oracle {
    pub(super) fn new(settings: &Settings, model: Parameters) -> Self {
        Self {
            quorum: settings.quorum,
            deadline: settings.deadline,
            share: settings.max_weight_share,
            announced: BTreeMap::new(),
            made: BTreeMap::new(),
            received: BTreeMap::new(),
            cohorts: BTreeMap::new(),
            accepted: BTreeMap::new(),
            n_bounded: 0,
            built: BTreeMap::new(),
            ended: BTreeMap::new(),
            version: Version(0),
            model,
            open: None,
        }
    }

    /// A client says how many examples it has; what no update may weigh says nothing.
    pub(super) fn announced(&mut self, client: &ClientId, examples: u64) {
        self.announced.insert(client.clone(), if examples > WEIGHT_MAX { 0 } else { examples });
    }

    /// The coordinator decides on a cohort, with the most that one of its updates may weigh.
    pub(super) fn opens(&self, cohort: &[ClientId], weight_max: Option<u64>) {
        let (Some(share), Some(most)) = (self.share, weight_max) else {
            assert_eq!((self.share, weight_max), (None, None), "an update's weight is bounded where the run says so");
            return;
        };
        let weights: Vec<u64> = cohort.iter().map(|client| self.announced[client]).collect();
        #[expect(clippy::cast_precision_loss, reason = "weights are rounded far more finely than the tolerance")]
        let excess = |most: u64| {
            let all: u64 = weights.iter().map(|weight| weight.min(&most)).sum();
            most as f64 - share.get() * all as f64
        };
        let most_announced = weights.iter().copied().max().unwrap_or(0);
        let (is_within, is_largest) =
            (excess(most) < SHARE_TOLERANCE, most >= most_announced || excess(most + 1) > -SHARE_TOLERANCE);
        // At 1 a cohort is as even as can be, also where it is too small for the share.
        let is_right = (is_within || most == 1) && is_largest;
        assert!(is_right, "an update may weigh {most}, of {weights:?} announced and with {share:?} at most");
    }

    /// A client has an update, honest or not.
    pub(super) fn made(&mut self, index: usize, update: &Update) {
        let made = self.made.entry((update.ticket, index)).or_default();
        if !made.contains(update) {
            made.push(update.clone());
        }
    }

    /// An offer of work leaves; `served` is the coordinator's clock while it serves.
    pub(super) fn offered(&mut self, ticket: Ticket, version: Version, served: Duration) {
        if matches!(ticket, Ticket::Train { .. }) {
            assert_eq!(version, self.version, "training for {ticket} starts from the last durable version");
            assert!(self.cohorts.contains_key(&ticket), "{ticket} is offered before its opening is durable");
            if self.open.is_none_or(|open| open.ticket != ticket) {
                self.open = Some(Open { ticket, since: served, allowed: Duration::ZERO });
            }
        }
    }

    /// The coordinator's clock jumped ahead, or a restart found it as much behind.
    pub(super) fn allows(&mut self, more: Duration) {
        if let Some(open) = &mut self.open {
            open.allowed += more;
        }
    }

    /// No update counts any more for `ticket`.
    pub(super) fn closed(&self, ticket: Ticket, served: Duration) {
        if let Some(open) = self.open.filter(|open| open.ticket == ticket) {
            let took = served.saturating_sub(open.since);
            let most = self.deadline + open.allowed + LATE_MAX;
            assert!(took <= most, "{ticket} was open for {took:?}, its deadline allows {most:?}");
        }
    }

    /// A receipt reached its client.
    pub(super) fn receipt(&mut self, index: usize, ticket: Ticket, digest: Digest) {
        match self.ended.get(&ticket) {
            Some(Ending::Aborted) => {}
            Some(Ending::Committed(counted)) => assert_is_counted(counted, index, ticket, digest),
            None => {
                let before = self.received.insert((ticket, index), digest);
                let is_same = before.is_none_or(|before| before == digest);
                assert!(is_same, "client {index} has receipts for two updates of {ticket}");
            }
        }
    }

    /// A version was built.
    pub(super) fn built(&mut self, version: Version, ticket: Ticket, means: Means, digest: Digest) {
        self.built.insert(version, Built { ticket, means, digest });
    }

    /// A row became durable. Returns whether it ended a round.
    pub(super) fn durable(&mut self, recorded: &Recorded) -> bool {
        match &recorded.row {
            Row::ModelCommitted { ticket, version, digest, weight } => {
                self.committed(*ticket, *version, *digest, *weight);
                true
            }
            Row::RoundAborted { ticket, .. } => {
                self.ends(*ticket, Ending::Aborted);
                true
            }
            Row::RoundOpened { ticket, cohort, weight_max } => {
                let cohort = Cohort { clients: cohort.clone(), weight_max: *weight_max };
                let before = self.cohorts.insert(*ticket, cohort);
                assert!(before.is_none(), "{ticket} opens twice");
                false
            }
            Row::UpdateAccepted { ticket, client, digest, .. } => {
                self.accepted.insert((*ticket, client.clone()), *digest);
                false
            }
            Row::RolledBack { .. } | Row::RoundClosing { .. } | Row::RunCreated { .. } => false,
        }
    }

    fn ends(&mut self, ticket: Ticket, ending: Ending) {
        self.received.retain(|(of, _), _| *of != ticket);
        self.accepted.retain(|(of, _), _| *of != ticket);
        let before = self.ended.insert(ticket, ending);
        assert!(before.is_none(), "{ticket} ends twice");
        // Work of rounds long past is not asked for any more.
        while self.made.len() > 100 {
            self.made.pop_first();
        }
    }

    fn committed(&mut self, ticket: Ticket, version: Version, digest: Digest, weight: u64) {
        assert_eq!(version, self.version.next(), "versions grow by one");
        let built = self.built.get(&version).expect("a version is built before its row");
        assert_eq!((built.ticket, built.digest), (ticket, digest), "the row names what was built");
        let means = built.means;
        let counted = self.counted(ticket, weight, &means);
        let quorum = self.quorum.of(self.cohorts[&ticket].clients.len());
        assert!(counted.len() >= quorum, "{ticket} is committed with {} updates, {quorum} are needed", counted.len());
        self.assert_exact(&counted, &means, digest);
        let digests: BTreeMap<_, _> = counted.iter().map(|(index, update)| (*index, update.digest)).collect();
        for ((_, index), digest) in self.received.range((ticket, 0)..=(ticket, usize::MAX)) {
            assert_is_counted(&digests, *index, ticket, *digest);
        }
        self.version = version;
        self.ends(ticket, Ending::Committed(digests));
    }

    /// Whose updates the aggregate shows, each exactly once, with what they count for.
    fn counted(&mut self, ticket: Ticket, weight: u64, means: &Means) -> Vec<(usize, Update)> {
        #[expect(clippy::cast_precision_loss, reason = "sums of weights are below 2^53")]
        let total = weight as f64;
        let mut counted = Vec::new();
        for (index, mean) in means[..CLIENTS_MAX].iter().enumerate() {
            let sum = mean * total;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of weights")]
            let sum_of_weights = sum.round() as u64;
            assert!((sum - sum.round()).abs() < 1e-3, "{ticket}: client {index} counts with {sum}, which is no weight");
            if sum_of_weights == 0 {
                continue;
            }
            let client = ClientId::simulated(index, CLIENTS_MAX);
            let cohort = self.cohorts.get(&ticket).filter(|cohort| cohort.clients.contains(&client));
            let cohort = cohort.unwrap_or_else(|| panic!("{ticket}: client {index} counts and was not asked"));
            let weighs = |update: &Update| update.weight.min(cohort.weight_max.unwrap_or(update.weight));
            let made = self.made.get(&(ticket, index)).map_or(&[][..], Vec::as_slice);
            let fitting = || made.iter().filter(|update| weighs(update) == sum_of_weights);
            // Two that weigh as much are told apart by the mixed coordinates: which of them it should be, its row says.
            let accepted = self.accepted.get(&(ticket, client.clone()));
            let update = fitting().find(|update| accepted == Some(&update.digest)).or_else(|| fitting().next());
            let weights: Vec<_> = made.iter().map(weighs).collect();
            let found = update.unwrap_or_else(|| {
                panic!("{ticket}: client {index} counts with {sum_of_weights}; what it made for it weighs {weights:?}")
            });
            self.n_bounded += u64::from(found.weight > sum_of_weights);
            counted.push((index, Update { weight: sum_of_weights, ..found.clone() }));
        }
        let sum: u64 = counted.iter().map(|(_, update)| update.weight).sum();
        assert_eq!(sum, weight, "{ticket}: the weight of the sum is that of those who count");
        counted
    }

    /// The version is, bit by bit, what these updates make of the version before in any order.
    fn assert_exact(&mut self, counted: &[(usize, Update)], means: &Means, digest: Digest) {
        let layout: &Arc<Layout> = self.model.layout();
        let mut sum = Sum::new(layout.count(), BITS_DEFAULT).expect("the default resolution");
        for (_, update) in counted {
            let values: Vec<f64> = update.parameters.values().collect();
            sum.add(&values, Weight::new(update.weight).expect("a weight")).expect("a good update");
        }
        let mut exact = [0.0; CLIENTS_MAX + MIXED];
        sum.mean_into_f64(0..exact.len(), &mut exact).expect("somebody counts");
        let is_exact = exact.iter().zip(means).all(|(one, other)| one.to_bits() == other.to_bits());
        assert!(is_exact, "the aggregate is {means:?}, exactly it is {exact:?}");
        let values: Vec<f64> = self.model.values().zip(exact).map(|(weight, mean)| weight + mean).collect();
        let model = Parameters::of_values(Arc::clone(layout), values);
        assert_eq!(model.digest(), digest, "the version follows from the one before");
        self.model = model;
    }

    /// The run is over. Returns how many updates counted for less than what was stated.
    pub(super) fn end(&self) -> u64 {
        if let Some(((ticket, index), _)) = self.received.first_key_value() {
            panic!("client {index} has a receipt for {ticket}, which was neither committed nor aborted");
        }
        self.n_bounded
    }
}

fn assert_is_counted(counted: &BTreeMap<usize, Digest>, index: usize, ticket: Ticket, digest: Digest) {
    let found = counted.get(&index).map(Digest::short);
    let is_counted = counted.get(&index) == Some(&digest);
    assert!(is_counted, "client {index} has a receipt for {} of {ticket}, what counts is {found:?}", digest.short());
}
