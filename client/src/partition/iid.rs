//! `iid`: every client's rows look like all rows.

use tributary_common::config::{Error as ConfigError, Row, Table};
use tributary_common::rng::Stream;

use super::{Error, Parts, Rows, Rule, clients};

pub(super) const ROW: Row<Box<dyn Rule>> =
    Row { name: "iid", help: "rows in random order, cut into equal parts; options: clients", parse };

#[derive(Debug)]
struct Iid {
    clients: usize,
}

fn parse(table: &mut Table) -> Result<Box<dyn Rule>, ConfigError> {
    Ok(Box::new(Iid { clients: clients(table)? }))
}

impl Rule for Iid {
    fn deal(&self, rows: &Rows<'_>, stream: &mut Stream) -> Result<Parts, Error> {
        rows.enough_for(self.clients)?;
        let mut all = rows.all();
        stream.shuffle(&mut all);
        Ok(Parts::cut(all, even(rows.count, self.clients)))
    }
}

/// The ends of `parts` equal parts of `count` rows; the first `count mod parts` get one more.
pub(super) fn even(count: usize, parts: usize) -> impl Iterator<Item = usize> {
    let (size, more) = (count / parts, count % parts);
    (1..=parts).map(move |k| k * size + k.min(more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_parts_get_one_more() {
        assert_eq!(even(11, 4).collect::<Vec<_>>(), [3, 6, 9, 11]);
        assert_eq!(even(8, 4).collect::<Vec<_>>(), [2, 4, 6, 8]);
    }
}
