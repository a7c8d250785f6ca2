//! `shards`: rows sorted by class and dealt in pieces, so that a client sees few classes (McMahan et al. 2017, section 3).

use tributary_common::config::{Error as ConfigError, Row, Table, choose};
use tributary_common::rng::Stream;

use super::{Error, Parts, Rows, Rule, clients};
use crate::data::EXAMPLES_MAX;

pub(super) const ROW: Row<Box<dyn Rule>> = Row {
    name: "shards",
    help: "rows sorted by class, cut into shards and dealt; options: clients, per_client = 2, assign = \"random\" or \"stride\"",
    parse,
};

#[derive(Clone, Copy, Debug)]
enum Assign {
    /// Shards are dealt in random order.
    Random,
    /// Client k gets shards k, k + clients, …: no randomness at all.
    Stride,
}

#[derive(Debug)]
struct Shards {
    clients: usize,
    per_client: usize,
    assign: Assign,
}

fn parse(table: &mut Table) -> Result<Box<dyn Rule>, ConfigError> {
    let clients = clients(table)?;
    let per_client = table.optional("per_client").map_or(Ok(2), |item| item.size(1..=EXAMPLES_MAX))?;
    let words = [("random", Assign::Random), ("stride", Assign::Stride)];
    let assign =
        table.optional("assign").map_or(Ok(Assign::Random), |item| choose::word(&words, "assignment", &item))?;
    Ok(Box::new(Shards { clients, per_client, assign }))
}

impl Rule for Shards {
    fn deal(&self, rows: &Rows<'_>, stream: &mut Stream) -> Result<Parts, Error> {
        let labels = rows.labels(ROW.name)?;
        let shards = self.clients.saturating_mul(self.per_client);
        if shards > rows.count {
            return Err(Error::ShardsExceedRows { shards, rows: rows.count });
        }
        let mut all = rows.all();
        all.sort_by_key(|&row| labels.of[row as usize]);
        let bound = |shard: usize| shard * rows.count / shards;
        let mut order: Vec<usize> = (0..shards).collect();
        match self.assign {
            Assign::Random => stream.shuffle(&mut order),
            Assign::Stride => order.sort_by_key(|shard| (shard % self.clients, *shard)),
        }
        let lists: Vec<Vec<u32>> = order
            .chunks(self.per_client)
            .map(|mine| mine.iter().flat_map(|&shard| &all[bound(shard)..bound(shard + 1)]).copied().collect())
            .collect();
        Ok(Parts::of(&lists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::tests::rule;
    use crate::partition::{Labels, deal};
    use tributary_common::id::Seed;

    #[test]
    fn stride_deals_by_hand() {
        let labels = [1, 0, 1, 0, 2, 2, 0];
        let rows = Rows { count: 7, labels: Some(Labels { of: &labels, classes: 3 }), groups: None };
        let rule = rule("kind = 'shards', clients = 2, per_client = 2, assign = 'stride'").unwrap();
        let parts = deal(rule.as_ref(), &rows, Seed(1)).unwrap();
        // Sorted: 1 3 6 | 0 2 | 4 5; bounds 0, 1, 3, 5, 7; client 0 gets shards 0 and 2, client 1 gets 1 and 3.
        assert_eq!(parts.iter().collect::<Vec<_>>(), [&[1, 0, 2][..], &[3, 6, 4, 5]]);
    }
}
