//! Embedding: every index becomes its row of a table `[count, size]`, like PyTorch's.
//!
//! The backward pass comes in two forms, as that of the linear layer: [`backward`] writes the gradient of the whole
//! table, [`backward_update`] takes plain SGD's step where rows were read and, without weight decay, touches no other.

use crate::real::Real;
use crate::sgd::{self, Step};

/// The table's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// Rows of the table: indices are below it.
    pub count: usize,
    /// Values of a row, at least one.
    pub size: usize,
}

impl Embedding {
    fn assert_lengths<T>(self, indices: &[u32], table: &[T], y: &[T]) {
        assert!(self.size > 0, "a row has a value");
        assert_eq!(table.len(), self.count * self.size, "table of {self:?}");
        assert_eq!(y.len(), indices.len() * self.size, "one row per index of {self:?}");
    }

    fn row(self, index: u32) -> std::ops::Range<usize> {
        let start = index as usize * self.size;
        start..start + self.size
    }
}

/// Writes the row of each index to `y` `[indices, size]`.
///
/// # Panics
/// If a length differs from the shape or an index is not below the count.
pub fn forward<T: Real>(shape: Embedding, indices: &[u32], table: &[T], y: &mut [T]) {
    shape.assert_lengths(indices, table, y);
    for (&index, y) in indices.iter().zip(y.chunks_exact_mut(shape.size)) {
        y.copy_from_slice(&table[shape.row(index)]);
    }
}

/// Writes the table's gradient: the sum of `dy` over the places of each index.
///
/// # Panics
/// If a length differs from the shape or an index is not below the count.
pub fn backward<T: Real>(shape: Embedding, indices: &[u32], dy: &[T], dtable: &mut [T]) {
    shape.assert_lengths(indices, dtable, dy);
    dtable.fill(T::ZERO);
    for (&index, dy) in indices.iter().zip(dy.chunks_exact(shape.size)) {
        dtable[shape.row(index)].iter_mut().zip(dy).for_each(|(d, &g)| *d += g);
    }
}

/// The same with the step: `table ← table − lr · (dtable + wd · table)`, without storing the gradient.
///
/// # Panics
/// If a length differs from the shape or an index is not below the count.
pub fn backward_update<T: Real>(shape: Embedding, step: Step<T>, indices: &[u32], dy: &[T], table: &mut [T]) {
    shape.assert_lengths(indices, table, dy);
    if step.weight_decay != T::ZERO {
        sgd::decay(step, table);
    }
    for (&index, dy) in indices.iter().zip(dy.chunks_exact(shape.size)) {
        table[shape.row(index)].iter_mut().zip(dy).for_each(|(w, &g)| *w -= step.learning_rate * g);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, dot, gradient, values};

    const SHAPE: Embedding = Embedding { count: 4, size: 3 };
    /// One row twice, one never.
    const INDICES: [u32; 4] = [2, 0, 2, 3];

    fn run(indices: &[u32], table: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NAN; indices.len() * SHAPE.size];
        forward(SHAPE, indices, table, &mut y);
        y
    }

    #[test]
    fn rows_are_looked_up() {
        let table: Vec<f64> = (0..12).map(f64::from).collect();
        assert_close(&run(&[2, 0], &table), &[6.0, 7.0, 8.0, 0.0, 1.0, 2.0], 0.0);
        assert!(run(&[], &table).is_empty());
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (table, c) = (values(1, 12), values(2, 12));
        let mut dtable = vec![f64::NAN; 12];
        backward(SHAPE, &INDICES, &c, &mut dtable);
        assert_close(&dtable, &gradient(&table, |table| dot(&run(&INDICES, table), &c)), 1e-8);
    }

    #[test]
    fn update_equals_gradient_and_step() {
        for weight_decay in [0.0, 0.3] {
            let step = Step { learning_rate: 0.1, weight_decay };
            let (mut fused, dy) = (values(1, 12), values(2, 12));
            let (mut apart, mut gradient) = (fused.clone(), vec![f64::NAN; 12]);
            backward_update(SHAPE, step, &INDICES, &dy, &mut fused);
            backward(SHAPE, &INDICES, &dy, &mut gradient);
            sgd::update(step, &mut apart, &gradient);
            assert_close(&fused, &apart, 1e-15);
        }
    }
}
