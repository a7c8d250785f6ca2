//! `quantity`: clients differ in how much they have, not in what.

use tributary_common::config::{Error as ConfigError, Row, Table};
use tributary_common::rng::Stream;

use super::{Error, Parts, Rows, Rule, clients, concentration, cuts, min};

pub(super) const ROW: Row<Box<dyn Rule>> = Row {
    name: "quantity",
    help: "sizes by a Dirichlet draw, small beta = very uneven, classes alike; options: clients, beta, min = 10",
    parse,
};

#[derive(Debug)]
struct Quantity {
    clients: usize,
    beta: f64,
    min: usize,
}

fn parse(table: &mut Table) -> Result<Box<dyn Rule>, ConfigError> {
    Ok(Box::new(Quantity { clients: clients(table)?, beta: concentration(table, "beta")?, min: min(table)? }))
}

impl Rule for Quantity {
    /// Every client gets `min` rows and the rest goes by shares, so that one draw always suffices, however uneven.
    fn deal(&self, rows: &Rows<'_>, stream: &mut Stream) -> Result<Parts, Error> {
        let (min, clients) = (self.min, self.clients);
        let Some(rest) = rows.count.checked_sub(min.saturating_mul(clients)) else {
            return Err(Error::MinExceedsRows { min, clients, rows: rows.count });
        };
        let mut all = rows.all();
        stream.shuffle(&mut all);
        let p = stream.dirichlet(&vec![self.beta; clients]);
        Ok(Parts::cut(all, cuts(&p, rest).enumerate().map(|(k, end)| end + (k + 1) * min)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{Skew, deal};
    use tributary_common::id::Seed;

    #[test]
    fn small_beta_is_more_uneven_and_every_client_has_enough() {
        let rows = Rows { count: 5000, labels: None, groups: None };
        let skew = |beta| Skew::of(&deal(&Quantity { clients: 50, beta, min: 7 }, &rows, Seed(4)).unwrap(), None);
        let (uneven, even) = (skew(0.1), skew(1e6));
        assert!(uneven.size_min >= 7 && uneven.size_max > 500, "{uneven:?}");
        assert!(even.size_min > 90 && even.size_max < 110, "{even:?}");
    }
}
