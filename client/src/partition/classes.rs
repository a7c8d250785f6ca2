//! `classes`: every client has exactly so many classes (Li et al. 2022, #C = k).

use tributary_common::config::{Error as ConfigError, Row, Table};
use tributary_common::rng::Stream;

use super::iid::even;
use super::{Error, Parts, Rows, Rule, clients};
use crate::data::EXAMPLES_MAX;

pub(super) const ROW: Row<Box<dyn Rule>> = Row {
    name: "classes",
    help: "client k has class k mod C and others at random, a class is split evenly; options: clients, per_client",
    parse,
};

#[derive(Debug)]
struct Classes {
    clients: usize,
    per_client: usize,
}

fn parse(table: &mut Table) -> Result<Box<dyn Rule>, ConfigError> {
    let clients = clients(table)?;
    Ok(Box::new(Classes { clients, per_client: table.required("per_client")?.size(1..=EXAMPLES_MAX)? }))
}

impl Rule for Classes {
    fn deal(&self, rows: &Rows<'_>, stream: &mut Stream) -> Result<Parts, Error> {
        let labels = rows.labels(ROW.name)?;
        rows.enough_for(self.clients)?;
        if self.per_client > labels.classes {
            return Err(Error::ClassesExceed { per_client: self.per_client, classes: labels.classes });
        }
        let mut holders = vec![Vec::new(); labels.classes];
        for client in 0..self.clients {
            let first = client % labels.classes;
            let mut others: Vec<usize> = (0..labels.classes).filter(|&class| class != first).collect();
            stream.shuffle(&mut others);
            holders[first].push(client);
            others[..self.per_client - 1].iter().for_each(|&class| holders[class].push(client));
        }
        let mut lists = vec![Vec::new(); self.clients];
        for (mut class, holders) in labels.rows_by_class().into_iter().zip(holders) {
            if holders.is_empty() {
                // With fewer places than classes nobody holds this one; the skew shows how many rows are dealt.
                continue;
            }
            stream.shuffle(&mut class);
            let mut start = 0;
            for (&client, end) in holders.iter().zip(even(class.len(), holders.len())) {
                lists[client].extend_from_slice(&class[start..end]);
                start = end;
            }
        }
        Ok(Parts::of(&lists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{Labels, deal};
    use std::collections::BTreeSet;
    use tributary_common::id::Seed;

    #[test]
    fn every_client_has_its_own_class_and_so_many_in_all() {
        let labels: Vec<u32> = (0..1000).map(|i| i % 10).collect();
        let rows = Rows { count: 1000, labels: Some(Labels { of: &labels, classes: 10 }), groups: None };
        let parts = deal(&Classes { clients: 20, per_client: 3 }, &rows, Seed(2)).unwrap();
        for (client, part) in parts.iter().enumerate() {
            let classes: BTreeSet<usize> = part.iter().map(|&row| labels[row as usize] as usize).collect();
            assert!(classes.len() == 3 && classes.contains(&(client % 10)), "client {client}: {classes:?}");
        }
        let few = deal(&Classes { clients: 3, per_client: 1 }, &rows, Seed(2)).unwrap();
        assert_eq!(few.rows(), 300);
    }
}
