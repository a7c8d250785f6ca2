//! Who is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tributary_common::id::ClientId;
use tributary_common::identity::Role;

/// The clients and evaluators that are here, and what the clients' updates will weigh, as they announced. A simulated
/// population is only a number: nothing is kept per client, unless weights are asked for.
#[derive(Clone, Debug)]
pub struct Roster {
    clients: Clients,
    evaluators: BTreeSet<ClientId>,
}

#[derive(Clone, Debug)]
enum Clients {
    Joined(BTreeMap<ClientId, u64>),
    Simulated { population: usize, weights: Option<Arc<[u64]>> },
}

impl Roster {
    /// Nobody yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self { clients: Clients::Joined(BTreeMap::new()), evaluators: BTreeSet::new() }
    }

    /// `population` clients called `client-000`, `client-001`, …, all here from the start.
    #[must_use]
    pub const fn simulated(population: usize) -> Self {
        Self { clients: Clients::Simulated { population, weights: None }, evaluators: BTreeSet::new() }
    }

    /// As [`Roster::simulated`], with what the updates of each client will weigh.
    #[must_use]
    pub fn simulated_with(weights: Arc<[u64]>) -> Self {
        let clients = Clients::Simulated { population: weights.len(), weights: Some(weights) };
        Self { clients, evaluators: BTreeSet::new() }
    }

    pub(super) fn join(&mut self, client: &ClientId, role: Role, weight: u64) {
        match (role, &mut self.clients) {
            (Role::Client, Clients::Joined(joined)) => {
                joined.insert(client.clone(), weight);
            }
            (Role::Evaluator, _) => {
                self.evaluators.insert(client.clone());
            }
            // A simulated client is here already; a coordinator is no client of itself.
            (Role::Client, Clients::Simulated { .. }) | (Role::Coordinator, _) => {}
        }
    }

    pub(super) fn leave(&mut self, client: &ClientId) {
        self.evaluators.remove(client);
        if let Clients::Joined(joined) = &mut self.clients {
            joined.remove(client);
        }
    }

    /// Whether `client` is here. A simulated population is always here.
    pub(super) fn holds(&self, client: &ClientId) -> bool {
        match &self.clients {
            Clients::Joined(joined) => joined.contains_key(client),
            Clients::Simulated { .. } => true,
        }
    }

    /// What the updates of a client that is here will weigh, as it announced; 0 if it did not.
    pub(super) fn weight(&self, client: &ClientId) -> u64 {
        match &self.clients {
            Clients::Joined(joined) => joined.get(client).copied().unwrap_or(0),
            Clients::Simulated { weights, .. } => {
                let weight = weights.as_ref().zip(client.simulated_index()).and_then(|(all, index)| all.get(index));
                weight.copied().unwrap_or(0)
            }
        }
    }

    /// How many clients are here, evaluators not counted.
    #[must_use]
    pub fn n_clients(&self) -> usize {
        match &self.clients {
            Clients::Joined(joined) => joined.len(),
            Clients::Simulated { population, .. } => *population,
        }
    }

    /// The clients at these places in the order of names; places ascend.
    pub(super) fn pick(&self, indices: &[usize]) -> Vec<ClientId> {
        match &self.clients {
            Clients::Simulated { population, .. } => {
                indices.iter().map(|&index| ClientId::simulated(index, *population)).collect()
            }
            Clients::Joined(joined) => {
                let mut wanted = indices.iter().copied().peekable();
                let chosen = joined.keys().enumerate().filter(|(index, _)| wanted.next_if_eq(index).is_some());
                chosen.map(|(_, client)| client.clone()).collect()
            }
        }
    }

    /// Every client that is here.
    pub(super) fn clients(&self) -> Vec<ClientId> {
        self.pick(&(0..self.n_clients()).collect::<Vec<_>>())
    }

    /// Every evaluator that is here.
    pub(super) fn evaluators(&self) -> impl Iterator<Item = &ClientId> {
        self.evaluators.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_population_looks_like_the_same_clients_joined() {
        let mut joined = Roster::empty();
        for index in (0..20).rev() {
            joined.join(&ClientId::simulated(index, 20), Role::Client, index as u64);
        }
        joined.join(&"eva".parse().unwrap(), Role::Evaluator, 0);
        let simulated = Roster::simulated_with((0..20).collect());
        assert_eq!((joined.n_clients(), simulated.n_clients()), (20, 20));
        assert_eq!(joined.pick(&[0, 7, 19]), simulated.pick(&[0, 7, 19]));
        let weights = |roster: &Roster| roster.clients().iter().map(|client| roster.weight(client)).collect::<Vec<_>>();
        assert_eq!((weights(&joined), weights(&simulated)), ((0..20).collect(), (0..20).collect()));
        assert_eq!(joined.evaluators().count(), 1);
    }
}
