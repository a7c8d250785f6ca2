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
use crate::round::{Quorum, Recorded, Row};

/// How much later than its deadline a round may close, beside what clocks jumped and restarts gave back: two slow fsyncs.
pub(super) const LATE_MAX: Duration = Duration::from_secs(25);

/// Means of all coordinates, as the server optimiser read them.
pub(super) type Means = [f64; CLIENTS_MAX + MIXED];

/// A version that was built, before its row is durable.
#[derive(Clone, Debug)]
struct Built {
    ticket: Ticket,
    means: Means,
    digest: Digest,
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
    made: BTreeMap<(Ticket, usize), Vec<Update>>,
    received: BTreeMap<(Ticket, usize), Digest>,
    cohorts: BTreeMap<Ticket, Vec<ClientId>>,
    built: BTreeMap<Version, Built>,
    ended: BTreeMap<Ticket, Ending>,
    version: Version,
    model: Parameters,
    open: Option<Open>,
}

impl Oracle {
    pub(super) fn new(quorum: Quorum, deadline: Duration, model: Parameters) -> Self {
        Self {
            quorum,
            deadline,
            made: BTreeMap::new(),
            received: BTreeMap::new(),
            cohorts: BTreeMap::new(),
            built: BTreeMap::new(),
            ended: BTreeMap::new(),
            version: Version(0),
            model,
            open: None,
        }
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
            Row::RoundOpened { ticket, cohort, .. } => {
                let before = self.cohorts.insert(*ticket, cohort.clone());
                assert!(before.is_none(), "{ticket} opens twice");
                false
            }
            Row::RolledBack { .. } | Row::RoundClosing { .. } | Row::RunCreated { .. } | Row::UpdateAccepted { .. } => {
                false
            }
        }
    }

    fn ends(&mut self, ticket: Ticket, ending: Ending) {
        self.received.retain(|(of, _), _| *of != ticket);
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
        let quorum = self.quorum.of(self.cohorts[&ticket].len());
        assert!(counted.len() >= quorum, "{ticket} is committed with {} updates, {quorum} are needed", counted.len());
        self.assert_exact(&counted, &means, digest);
        let digests: BTreeMap<_, _> = counted.iter().map(|(index, update)| (*index, update.digest)).collect();
        for ((_, index), digest) in self.received.range((ticket, 0)..=(ticket, usize::MAX)) {
            assert_is_counted(&digests, *index, ticket, *digest);
        }
        self.version = version;
        self.ends(ticket, Ending::Committed(digests));
    }

    /// Whose updates the aggregate shows, each exactly once.
    fn counted(&self, ticket: Ticket, weight: u64, means: &Means) -> Vec<(usize, Update)> {
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
            let made = self.made.get(&(ticket, index)).map_or(&[][..], Vec::as_slice);
            let update = made.iter().find(|update| update.weight == sum_of_weights);
            let weights: Vec<_> = made.iter().map(|update| update.weight).collect();
            let found = update.unwrap_or_else(|| {
                panic!("{ticket}: client {index} counts with {sum_of_weights}; what it made for it weighs {weights:?}")
            });
            assert!(self.is_in_cohort(ticket, index), "{ticket}: client {index} counts and was not asked");
            counted.push((index, found.clone()));
        }
        let sum: u64 = counted.iter().map(|(_, update)| update.weight).sum();
        assert_eq!(sum, weight, "{ticket}: the weight of the sum is that of those who count");
        counted
    }

    fn is_in_cohort(&self, ticket: Ticket, index: usize) -> bool {
        let client = ClientId::simulated(index, CLIENTS_MAX);
        self.cohorts.get(&ticket).is_some_and(|cohort| cohort.contains(&client))
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

    /// The run is over.
    pub(super) fn end(&self) {
        if let Some(((ticket, index), _)) = self.received.first_key_value() {
            panic!("client {index} has a receipt for {ticket}, which was neither committed nor aborted");
        }
    }
}

fn assert_is_counted(counted: &BTreeMap<usize, Digest>, index: usize, ticket: Ticket, digest: Digest) {
    let found = counted.get(&index).map(Digest::short);
    let is_counted = counted.get(&index) == Some(&digest);
    assert!(is_counted, "client {index} has a receipt for {} of {ticket}, what counts is {found:?}", digest.short());
}
