//! `median`: the median of every coordinate, each client alike (Yin et al. 2018, definition 1). Fewer than half of the
//! clients, whatever they send, cannot move it beyond what the others sent.

use std::sync::Arc;

use tributary_common::config::Row;

use super::{Combine, Rule};

pub(super) const ROW: Row<Rule> = Row {
    name: "median",
    help: "median of every coordinate, each client alike; keeps the round's updates on disk",
    parse: |_| Ok(Rule::All(Arc::new(Median))),
};

/// The median of every coordinate; of an even number of clients the mean of the two in the middle.
#[derive(Debug)]
struct Median;

impl Combine for Median {
    fn combine(&self, updates: &[&[f64]], _: &[u64], out: &mut [f64]) {
        let mut column = vec![0.0; updates.len()];
        let middle = column.len() / 2;
        for (i, out) in out.iter_mut().enumerate() {
            for (value, update) in column.iter_mut().zip(updates) {
                *value = update[i];
            }
            let (below, upper, _) = column.select_nth_unstable_by(middle, f64::total_cmp);
            let upper = *upper;
            *out = if updates.len() % 2 == 1 {
                upper
            } else {
                let lower = below.iter().copied().max_by(f64::total_cmp).expect("an even number is at least two");
                lower + (upper - lower) / 2.0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn median(updates: &[&[f64]]) -> Vec<f64> {
        let mut out = vec![f64::NAN; updates[0].len()];
        Median.combine(updates, &vec![1; updates.len()], &mut out);
        out
    }

    #[test]
    fn odd_even_and_single_numbers_of_clients_by_hand() {
        assert_eq!(median(&[&[3.0, -1.0]]), [3.0, -1.0]);
        assert_eq!(median(&[&[1.0], &[4.0]]), [2.5]);
        assert_eq!(median(&[&[1.0, 9.0], &[4.0, 7.0], &[-8.0, 8.0]]), [1.0, 8.0]);
        assert_eq!(median(&[&[1.0], &[4.0], &[2.0], &[1e9]]), [3.0]);
    }

    /// A minority cannot leave the range of the others, and the order of clients does not matter.
    #[test]
    fn a_minority_cannot_move_it_out_of_the_range_of_the_others() {
        let honest = [[0.1, -0.2], [0.2, -0.1], [0.3, -0.3]];
        let lie = [1e9, -1e9];
        let all: Vec<&[f64]> = vec![&lie, &honest[0], &honest[1], &lie, &honest[2]];
        let forth = median(&all);
        assert!((0.1..=0.3).contains(&forth[0]) && (-0.3..=-0.1).contains(&forth[1]), "{forth:?}");
        let back: Vec<&[f64]> = all.into_iter().rev().collect();
        let bits = |values: Vec<f64>| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(median(&back)), bits(forth));
    }
}
