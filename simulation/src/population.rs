//! Who has which examples: index lists over one shared data set, nothing else per client.

use std::sync::Arc;

use tributary_client::data::Dataset;
use tributary_client::partition::Parts;
use tributary_client::supply::Dealt;
use tributary_common::id::ClientId;

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
        let index: usize = client.as_str().strip_prefix("client-")?.parse().ok()?;
        (index < self.clients()).then(|| self.parts.part(index))
    }
}
