//! The updates of one round, kept for a rule that looks at all of them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use tributary_common::id::ClientId;
use tributary_common::parameters::{Dtype, Parameters};
use tributary_common::sum::{self, BLOCK, Weight};

use super::{Aggregate, Combine, Error};

/// An update that is kept until its round closes.
pub trait Kept {
    /// Reads bytes of the packed update from the offset `at` on.
    ///
    /// # Errors
    /// The disk.
    fn read_at(&mut self, at: usize, out: &mut [u8]) -> io::Result<()>;

    /// Hands the whole update on in order, in blocks of whole values.
    ///
    /// # Errors
    /// The disk.
    fn read_all(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()>;
}

impl Kept for Parameters {
    fn read_at(&mut self, at: usize, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.bytes()[at..at + out.len()]);
        Ok(())
    }

    fn read_all(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        take(self.bytes());
        Ok(())
    }
}

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
    pub fn combined<'a>(&'a mut self, rule: &'a dyn Combine) -> Combined<'a, U> {
        let values = vec![0.0; BLOCK * self.updates.len()];
        Combined { gathered: self, rule, bytes: vec![0; BLOCK * size_of::<f64>()], values }
    }
}

/// Gathered updates under a rule, read block by block.
#[derive(Debug)]
pub struct Combined<'a, U> {
    gathered: &'a mut Gathered<U>,
    rule: &'a dyn Combine,
    bytes: Vec<u8>,
    values: Vec<f64>,
}

impl<U: Kept> Aggregate for Combined<'_, U> {
    fn read(&mut self, range: Range<usize>, out: &mut [f64]) -> Result<(), Error> {
        let (dtype, count) = (self.gathered.dtype, range.len());
        let bytes = &mut self.bytes[..count * dtype.size()];
        if self.gathered.updates.is_empty() {
            return Err(sum::Error::Empty.into());
        }
        for ((update, _), values) in self.gathered.updates.values_mut().zip(self.values.chunks_exact_mut(BLOCK)) {
            update.read_at(range.start * dtype.size(), bytes)?;
            for (value, chunk) in values.iter_mut().zip(bytes.chunks_exact(dtype.size())) {
                *value = dtype.read(chunk);
            }
        }
        let weights: Vec<u64> = self.gathered.updates.values().map(|(_, weight)| weight.get()).collect();
        let updates: Vec<&[f64]> = self.values.chunks_exact(BLOCK).map(|values| &values[..count]).collect();
        self.rule.combine(&updates, &weights, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::parameters::Layout;

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
            let mut combined = gathered.combined(&First);
            for range in [0..4096, 4096..5000] {
                let mut out = vec![0.0; range.len()];
                combined.read(range, &mut out).unwrap();
                assert!(out.iter().all(|value| value.to_bits() == 2.0_f64.to_bits()), "{dtype}");
            }
        }
    }

    #[test]
    fn nothing_gathered_combines_to_nothing() {
        let mut gathered = Gathered::<Parameters>::new(Dtype::F32);
        let read = gathered.combined(&First).read(0..1, &mut [0.0]);
        assert!(matches!(read, Err(Error::Sum(sum::Error::Empty))));
    }
}
