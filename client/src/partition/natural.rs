//! `natural`: rows belong to whom they came from.

use tributary_common::config::{Error as ConfigError, Row, Table};
use tributary_common::rng::Stream;

use super::{Error, Parts, Rows, Rule};

pub(super) const ROW: Row<Box<dyn Rule>> = Row {
    name: "natural",
    help: "one client for each value of a column of the table, in the order of the values' bytes; options: column",
    parse,
};

#[derive(Debug)]
struct Natural {
    column: String,
}

fn parse(table: &mut Table) -> Result<Box<dyn Rule>, ConfigError> {
    Ok(Box::new(Natural { column: table.required("column")?.text()?.to_owned() }))
}

impl Rule for Natural {
    fn deal(&self, rows: &Rows<'_>, _: &mut Stream) -> Result<Parts, Error> {
        let Some(groups) = rows.groups else { return Err(Error::ColumnMissing { column: self.column.clone() }) };
        let mut all = rows.all();
        all.sort_by_key(|&row| groups[row as usize]);
        let ends: Vec<usize> =
            all.chunk_by(|&a, &b| groups[a as usize] == groups[b as usize]).map(<[u32]>::len).collect();
        let mut end = 0;
        let ends = ends.into_iter().map(|len| {
            end += len;
            end
        });
        let ends: Vec<usize> = ends.collect();
        Ok(Parts::cut(all, ends))
    }

    fn column(&self) -> Option<&str> {
        Some(&self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::deal;
    use tributary_common::id::Seed;

    #[test]
    fn rows_of_one_value_are_one_client_in_file_order() {
        let rule = Natural { column: "site".to_owned() };
        let rows = Rows { count: 5, labels: None, groups: Some(&[2, 0, 2, 5, 0]) };
        let parts = deal(&rule, &rows, Seed(1)).unwrap();
        assert_eq!(parts.iter().collect::<Vec<_>>(), [&[1, 4][..], &[0, 2], &[3]]);
        let rows = Rows { count: 5, labels: None, groups: None };
        assert!(deal(&rule, &rows, Seed(1)).unwrap_err().to_string().contains("`site`"));
    }
}
