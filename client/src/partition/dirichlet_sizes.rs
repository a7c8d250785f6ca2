//! `dirichlet_sizes`: every client has its own mixture of classes, all have the same size (Hsu, Qi and Brown 2019,
//! "Measuring the Effects of Non-Identical Data Distribution").

use tributary_common::config::{Error as ConfigError, Row, Table};
use tributary_common::rng::Stream;

use super::iid::even;
use super::{Error, Parts, Rows, Rule, clients, concentration, real};

pub(super) const ROW: Row<Box<dyn Rule>> = Row {
    name: "dirichlet_sizes",
    help: "each client's classes by a Dirichlet mixture around the overall one, equal sizes; options: clients, alpha",
    parse,
};

#[derive(Debug)]
struct DirichletSizes {
    clients: usize,
    alpha: f64,
}

fn parse(table: &mut Table) -> Result<Box<dyn Rule>, ConfigError> {
    Ok(Box::new(DirichletSizes { clients: clients(table)?, alpha: concentration(table, "alpha")? }))
}

impl Rule for DirichletSizes {
    fn deal(&self, rows: &Rows<'_>, stream: &mut Stream) -> Result<Parts, Error> {
        let labels = rows.labels(ROW.name)?;
        rows.enough_for(self.clients)?;
        // Classes without a row have no place in the prior.
        let mut left: Vec<Vec<u32>> = labels.rows_by_class().into_iter().filter(|class| !class.is_empty()).collect();
        left.iter_mut().for_each(|class| stream.shuffle(class));
        let prior: Vec<f64> = left.iter().map(|class| self.alpha * real(class.len()) / real(rows.count)).collect();
        let mut all = Vec::with_capacity(rows.count);
        let ends: Vec<usize> = even(rows.count, self.clients).collect();
        for &end in &ends {
            let q = stream.dirichlet(&prior);
            while all.len() < end {
                let class = draw(&q, &left, stream);
                all.push(left[class].pop().expect("a drawn class has rows left"));
            }
        }
        Ok(Parts::cut(all, ends))
    }
}

/// A class by shares `q`, of those that have rows left; by what is left where `q` gives them nothing.
fn draw(q: &[f64], left: &[Vec<u32>], stream: &mut Stream) -> usize {
    let open = |class: usize| !left[class].is_empty();
    let shares: f64 = (0..q.len()).filter(|&class| open(class)).map(|class| q[class]).sum();
    let share = |class: usize| if shares > 0.0 { q[class] } else { real(left[class].len()) };
    let total: f64 = (0..q.len()).filter(|&class| open(class)).map(share).sum();
    let mut at = stream.uniform() * total;
    let mut chosen = None;
    for class in (0..q.len()).filter(|&class| open(class) && share(class) > 0.0) {
        chosen = Some(class);
        at -= share(class);
        if at < 0.0 {
            break;
        }
    }
    chosen.expect("there are as many rows left as are asked for")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{Labels, deal};
    use tributary_common::id::Seed;

    #[test]
    fn sizes_are_equal_even_where_classes_run_out() {
        let labels: Vec<u32> = (0..103).map(|i| if i < 3 { 7 } else { i % 3 }).collect();
        let rows = Rows { count: 103, labels: Some(Labels { of: &labels, classes: 10 }), groups: None };
        let parts = deal(&DirichletSizes { clients: 10, alpha: 1e-3 }, &rows, Seed(5)).unwrap();
        let sizes: Vec<usize> = parts.iter().map(<[u32]>::len).collect();
        assert_eq!(sizes, [11, 11, 11, 10, 10, 10, 10, 10, 10, 10]);
    }
}
