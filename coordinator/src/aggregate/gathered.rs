//! The updates of one round, kept for a rule that looks at all of them.

use std::collections::BTreeMap;
use std::ops::Range;

use tributary_common::id::ClientId;
use tributary_common::parameters::Dtype;
use tributary_common::sum::{self, BLOCK, Weight};

use super::{Aggregate, Combine, Coordinates, Error, Kept};

/// The updates of one round, in the order of their clients' names.
#[derive(Debug)]
pub struct Gathered<U> {
    dtype: Dtype,
    updates: BTreeMap<ClientId, (U, Weight)>,
}

impl<U: Kept> Gathered<U> {
    /// No update yet; those that come have the type `dtype`.
    #[must_use]
    pub const fn new(dtype: Dtype) -> Self {
        Self { dtype, updates: BTreeMap::new() }
    }

    /// Keeps one client's update. The machine folds a client once (I1).
    pub fn keep(&mut self, client: ClientId, update: U, weight: Weight) {
        let before = self.updates.insert(client, (update, weight));
        assert!(before.is_none(), "I1: a client's update counts once");
    }

    /// The updates as `rule` combines them.
    pub const fn combined<'a>(&'a self, rule: &'a dyn Combine) -> Combined<'a, U> {
        Combined { gathered: self, rule }
    }
}

/// Gathered updates under a rule.
#[derive(Debug)]
pub struct Combined<'a, U> {
    gathered: &'a Gathered<U>,
    rule: &'a dyn Combine,
}

impl<U: Kept> Aggregate for Combined<'_, U> {
    fn open(&self, _: usize) -> Result<Box<dyn Coordinates + '_>, Error> {
        let updates = &self.gathered.updates;
        if updates.is_empty() {
            return Err(sum::Error::Empty.into());
        }
        Ok(Box::new(Opened {
            weights: updates.values().map(|(_, weight)| weight.get()).collect(),
            values: vec![0.0; BLOCK * updates.len()],
            bytes: Vec::new(),
            combined: self,
        }))
    }
}

/// Room for one block of every update.
struct Opened<'a, U> {
    combined: &'a Combined<'a, U>,
    weights: Vec<u64>,
    bytes: Vec<u8>,
    values: Vec<f64>,
}

impl<U: Kept> Coordinates for Opened<'_, U> {
    fn read(&mut self, range: Range<usize>, out: &mut [f64]) -> Result<(), Error> {
        let Gathered { dtype, updates } = self.combined.gathered;
        let size = dtype.size();
        for ((update, _), values) in updates.values().zip(self.values.chunks_exact_mut(BLOCK)) {
            let bytes = update.read(range.start * size..range.end * size, &mut self.bytes)?;
            dtype.read_all(bytes, &mut values[..range.len()]);
        }
        let updates: Vec<&[f64]> = self.values.chunks_exact(BLOCK).map(|values| &values[..range.len()]).collect();
        self.combined.rule.combine(&updates, &self.weights, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::parameters::{Layout, Parameters};

    /// Keeps what it is given: the first update, so that its order shows.
    #[derive(Debug)]
    struct First;

    impl Combine for First {
        fn combine(&self, updates: &[&[f64]], weights: &[u64], out: &mut [f64]) {
            for (out, value) in out.iter_mut().zip(updates[0]) {
                *out = value * weights[0] as f64;
            }
        }
    }

    fn update(value: f64, dtype: Dtype, count: usize) -> Parameters {
        let mut bytes = vec![0; count * dtype.size()];
        bytes.chunks_exact_mut(dtype.size()).for_each(|chunk| dtype.write(value, chunk));
        Parameters::new(Layout::new([("w", dtype, vec![count])]).unwrap(), bytes.into()).unwrap()
    }

    #[test]
    fn updates_come_in_the_order_of_names_in_every_type_and_block() {
        for dtype in [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::Bf16] {
            let mut gathered = Gathered::new(dtype);
            gathered.keep("b".parse().unwrap(), update(2.0, dtype, 5000), Weight::new(3).unwrap());
            gathered.keep("a".parse().unwrap(), update(0.5, dtype, 5000), Weight::new(4).unwrap());
            let combined = gathered.combined(&First);
            let mut opened = combined.open(0).unwrap();
            for range in [0..4096, 4096..5000] {
                let mut out = vec![0.0; range.len()];
                opened.read(range, &mut out).unwrap();
                assert!(out.iter().all(|value| value.to_bits() == 2.0_f64.to_bits()), "{dtype}");
            }
        }
    }

    #[test]
    fn nothing_gathered_combines_to_nothing() {
        let gathered = Gathered::<Parameters>::new(Dtype::F32);
        assert!(matches!(gathered.combined(&First).open(0), Err(Error::Sum(sum::Error::Empty))));
    }
}
