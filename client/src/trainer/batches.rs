//! Which examples each step sees.

use tributary_common::rng::Stream;

use crate::plan::{Batch, Length, Train};

/// The batches of one round at one client.
#[derive(Debug)]
pub(super) struct Batches {
    order: Vec<u32>,
    size: usize,
    /// Where the next batch of this epoch begins.
    at: usize,
    steps: u64,
    /// None where every batch is all examples: their order would change nothing but rounding.
    stream: Option<Stream>,
}

impl Batches {
    /// Of at least one example.
    pub(super) fn new(train: &Train, examples: &[u32], stream: Stream) -> Self {
        let count = examples.len();
        assert!(count > 0, "an empty list has no batches: the trainer refuses it");
        let size = match train.batch {
            Batch::All => count,
            Batch::Size(size) => size.min(count),
        };
        let steps = match train.length {
            Length::Epochs(epochs) => epochs * (count.div_ceil(size) as u64),
            Length::Steps(steps) => steps,
        };
        Self { order: examples.to_vec(), size, at: 0, steps, stream: (size < count).then_some(stream) }
    }

    /// How many batches there are in all.
    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    /// The next batch; after the last of an epoch the first of a newly shuffled one.
    pub(super) fn next(&mut self) -> &[u32] {
        if self.at == 0
            && let Some(stream) = &mut self.stream
        {
            stream.shuffle(&mut self.order);
        }
        let end = (self.at + self.size).min(self.order.len());
        let batch = &self.order[self.at..end];
        self.at = if end == self.order.len() { 0 } else { end };
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::id::{ClientId, Round, Seed};
    use tributary_common::rng::{self, Purpose};

    fn batches(length: Length, batch: Batch, count: u32) -> Batches {
        let plan = crate::plan::tests::plan(
            "input = { shape = [1] }\nmodel = { layers = [{ kind = 'linear', out = 1 }] }\n\
             train = { loss = 'mse', optimizer = { kind = 'sgd', lr = 1 }, steps = 1, batch = 1 }",
        );
        let train = Train { length, batch, ..plan.train };
        let stream = rng::stream(Seed(1), Round(1), Some(&ClientId::simulated(0, 1)), Purpose::Batches);
        Batches::new(&train, &(0..count).collect::<Vec<_>>(), stream)
    }

    fn epoch(batches: &mut Batches, sizes: &[usize]) -> Vec<u32> {
        let mut seen = Vec::new();
        for &size in sizes {
            let batch = batches.next();
            assert_eq!(batch.len(), size);
            seen.extend_from_slice(batch);
        }
        seen
    }

    #[test]
    fn every_epoch_sees_every_example_once_in_a_new_order_with_a_short_last_batch() {
        let mut batches = batches(Length::Epochs(3), Batch::Size(4), 10);
        assert_eq!(batches.steps(), 9);
        let [first, second] = [(); 2].map(|()| epoch(&mut batches, &[4, 4, 2]));
        assert_ne!(first, second);
        for mut seen in [first, second] {
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn steps_beyond_an_epoch_begin_the_next() {
        let mut batches = batches(Length::Steps(5), Batch::Size(4), 6);
        assert_eq!(batches.steps(), 5);
        epoch(&mut batches, &[4, 2, 4, 2, 4]);
    }

    #[test]
    fn full_batches_keep_the_order() {
        for batch in [Batch::All, Batch::Size(3), Batch::Size(9)] {
            let mut batches = batches(Length::Steps(2), batch, 3);
            assert_eq!(epoch(&mut batches, &[3, 3]), [0, 1, 2, 0, 1, 2]);
        }
    }
}
