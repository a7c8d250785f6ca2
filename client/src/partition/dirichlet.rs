//! `dirichlet`: every class is spread over clients by random shares, so that classes and sizes differ (Yurochkin et al.
//! 2019; with the balancing of Li et al. 2022, "Federated Learning on Non-IID Data Silos").

use tributary_common::config::{Error as ConfigError, Row, Table};
use tributary_common::rng::Stream;

use super::{Error, Parts, Rows, Rule, clients, concentration, cuts, min};

pub(super) const ROW: Row<Box<dyn Rule>> = Row {
    name: "dirichlet",
    help: "each class spread over clients by Dirichlet shares, small alpha = very uneven; options: clients, alpha, min = 10",
    parse,
};

/// Tries until every client has enough rows.
const TRIES: u32 = 1000;

/// Tries of each larger concentration, to find one that works for the message.
const SEARCH_TRIES: u32 = 20;

/// Doublings of the concentration in that search: up to a million times, which is as good as even.
const SEARCH_DOUBLINGS: u32 = 20;

#[derive(Debug)]
struct Dirichlet {
    clients: usize,
    alpha: f64,
    min: usize,
}

fn parse(table: &mut Table) -> Result<Box<dyn Rule>, ConfigError> {
    Ok(Box::new(Dirichlet { clients: clients(table)?, alpha: concentration(table, "alpha")?, min: min(table)? }))
}

impl Rule for Dirichlet {
    fn deal(&self, rows: &Rows<'_>, stream: &mut Stream) -> Result<Parts, Error> {
        let labels = rows.labels(ROW.name)?;
        if self.min.saturating_mul(self.clients) > rows.count {
            let (min, clients) = (self.min, self.clients);
            return Err(Error::MinExceedsRows { min, clients, rows: rows.count });
        }
        let mut by_class = labels.rows_by_class();
        let counts: Vec<usize> = by_class.iter().map(Vec::len).collect();
        let Some(ends) = (0..TRIES).find_map(|_| self.attempt(self.alpha, &counts, stream)) else {
            return Err(self.failure(&counts, stream));
        };
        let mut lists = vec![Vec::new(); self.clients];
        for (class, ends) in by_class.iter_mut().zip(&ends) {
            stream.shuffle(class);
            let mut start = 0;
            for (list, &end) in lists.iter_mut().zip(ends) {
                list.extend_from_slice(&class[start..end]);
                start = end;
            }
        }
        Ok(Parts::of(&lists))
    }
}

impl Dirichlet {
    /// For each class where to cut it, if every client then has enough. Only sizes are drawn here; the rows are shuffled
    /// once, after the try that succeeds, which gives the same distribution for less work.
    fn attempt(&self, alpha: f64, counts: &[usize], stream: &mut Stream) -> Option<Vec<Vec<usize>>> {
        let rows: usize = counts.iter().sum();
        let mut held = vec![0; self.clients];
        let mut all = Vec::with_capacity(counts.len());
        for &count in counts {
            let mut p = stream.dirichlet(&vec![alpha; self.clients]);
            for (share, &held) in p.iter_mut().zip(&held) {
                if held * self.clients >= rows {
                    *share = 0.0;
                }
            }
            let total: f64 = p.iter().sum();
            if total <= 0.0 {
                // All clients with room drew nothing that a double can hold.
                return None;
            }
            p.iter_mut().for_each(|share| *share /= total);
            let ends: Vec<usize> = cuts(&p, count).collect();
            let mut start = 0;
            for (held, &end) in held.iter_mut().zip(&ends) {
                *held += end - start;
                start = end;
            }
            all.push(ends);
        }
        held.iter().all(|&held| held >= self.min).then_some(all)
    }

    fn failure(&self, counts: &[usize], stream: &mut Stream) -> Error {
        let mut alpha = self.alpha;
        let worked = (0..SEARCH_DOUBLINGS).find_map(|_| {
            alpha *= 2.0;
            (0..SEARCH_TRIES).any(|_| self.attempt(alpha, counts, stream).is_some()).then_some(alpha)
        });
        Error::DirichletFailed { alpha: self.alpha, min: self.min, tries: TRIES, worked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{Labels, Skew, deal};
    use tributary_common::id::Seed;

    fn dealt(alpha: f64, min: usize) -> (Vec<u32>, Result<Parts, Error>) {
        let labels: Vec<u32> = (0..2000).map(|i| i % 10).collect();
        let rows = Rows { count: 2000, labels: Some(Labels { of: &labels, classes: 10 }), groups: None };
        let parts = deal(&Dirichlet { clients: 20, alpha, min }, &rows, Seed(3));
        (labels, parts)
    }

    #[test]
    fn small_alpha_is_more_skewed_and_every_client_has_enough() {
        let skew = |alpha| {
            let (labels, parts) = dealt(alpha, 10);
            Skew::of(&parts.unwrap(), Some(Labels { of: &labels, classes: 10 }))
        };
        let (uneven, even) = (skew(0.1), skew(1000.0));
        assert!(uneven.size_min >= 10);
        assert!(uneven.distance.unwrap() > 0.5 && even.distance.unwrap() < 0.1, "{uneven:?} {even:?}");
    }

    #[test]
    fn alpha_that_never_works_is_refused_with_one_that_does() {
        let (_, parts) = dealt(0.001, 90);
        let Err(Error::DirichletFailed { worked: Some(alpha), .. }) = parts else { panic!("{parts:?}") };
        assert!(dealt(alpha, 90).1.is_ok());
    }
}
