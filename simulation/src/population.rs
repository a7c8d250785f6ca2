//! Who has which examples: index lists over one shared data set, nothing else per client.

use std::sync::Arc;

use tributary_client::data::Dataset;
use tributary_client::partition::Parts;
use tributary_client::plan::holdout;
use tributary_client::supply::Dealt;
use tributary_common::id::ClientId;
use tributary_coordinator::aggregate::Aggregator;

/// The data of all clients and of the evaluator.
#[derive(Clone, Debug)]
pub struct Population {
    /// What clients train on.
    pub train: Arc<Dataset>,
    /// What the evaluator measures on, if there is any.
    pub test: Option<Arc<Dataset>>,
    /// Which examples each client has, 4 bytes an example.
    pub parts: Arc<Parts>,
}

impl From<Dealt> for Population {
    fn from(dealt: Dealt) -> Self {
        Self { train: dealt.train, test: dealt.test, parts: dealt.parts }
    }
}

impl Population {
    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.parts.clients()
    }

    /// The examples of a client, by the number in its name.
    #[must_use]
    pub fn part(&self, client: &ClientId) -> Option<&[u32]> {
        let index = client.simulated_index()?;
        (index < self.clients()).then(|| self.parts.part(index))
    }

    /// What each client's updates will weigh, as real clients announce when they join: `share` of its
    /// examples each keeps from training.
    pub(crate) fn announced(&self, share: f64, aggregator: &Aggregator) -> Arc<[u64]> {
        let examples = (0..self.clients()).map(|index| self.parts.part(index).len());
        let trained = examples.map(|examples| examples - holdout::held_out(examples, share));
        trained.map(|trained| aggregator.announced(trained as u64)).collect()
    }
}
