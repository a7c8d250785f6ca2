//! Who is here.

use std::collections::BTreeSet;

use tributary_common::id::ClientId;
use tributary_common::identity::Role;

/// The clients and evaluators that are here. A simulated population is only a number: nothing is kept per client.
#[derive(Clone, Debug)]
pub struct Roster {
    clients: Clients,
    evaluators: BTreeSet<ClientId>,
}

#[derive(Clone, Debug)]
enum Clients {
    Joined(BTreeSet<ClientId>),
    Simulated(usize),
}

impl Roster {
    /// Nobody yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self { clients: Clients::Joined(BTreeSet::new()), evaluators: BTreeSet::new() }
    }

    /// `population` clients called `client-000`, `client-001`, …, all here from the start.
    #[must_use]
    pub const fn simulated(population: usize) -> Self {
        Self { clients: Clients::Simulated(population), evaluators: BTreeSet::new() }
    }

    pub(super) fn join(&mut self, client: &ClientId, role: Role) {
        match (role, &mut self.clients) {
            (Role::Client, Clients::Joined(joined)) => {
                joined.insert(client.clone());
            }
            (Role::Evaluator, _) => {
                self.evaluators.insert(client.clone());
            }
            // A simulated client is here already; a coordinator is no client of itself.
            (Role::Client, Clients::Simulated(_)) | (Role::Coordinator, _) => {}
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
            Clients::Joined(joined) => joined.contains(client),
            Clients::Simulated(_) => true,
        }
    }

    /// How many clients are here, evaluators not counted.
    #[must_use]
    pub fn n_clients(&self) -> usize {
        match &self.clients {
            Clients::Joined(joined) => joined.len(),
            Clients::Simulated(population) => *population,
        }
    }

    /// The clients at these places in the order of names; places ascend.
    pub(super) fn pick(&self, indices: &[usize]) -> Vec<ClientId> {
        match &self.clients {
            Clients::Simulated(population) => {
                indices.iter().map(|&index| ClientId::simulated(index, *population)).collect()
            }
            Clients::Joined(joined) => {
                let mut wanted = indices.iter().copied().peekable();
                let chosen = joined.iter().enumerate().filter(|(index, _)| wanted.next_if_eq(index).is_some());
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
            joined.join(&ClientId::simulated(index, 20), Role::Client);
        }
        joined.join(&"eva".parse().unwrap(), Role::Evaluator);
        let simulated = Roster::simulated(20);
        assert_eq!((joined.n_clients(), simulated.n_clients()), (20, 20));
        assert_eq!(joined.pick(&[0, 7, 19]), simulated.pick(&[0, 7, 19]));
        assert_eq!(joined.evaluators().count(), 1);
    }
}
