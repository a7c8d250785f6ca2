//! What is found out about an update before it counts: digest, finiteness, range, norm. Server and simulation share it.

use std::sync::Arc;

use tributary_common::Digest;
use tributary_common::parameters::{Layout, squares_of};
use tributary_common::sum;

/// What is computed of an update, block by block as it comes.
#[derive(Debug)]
pub struct Screen {
    layout: Arc<Layout>,
    hasher: blake3::Hasher,
    /// Coordinates seen.
    at: usize,
    squares: f64,
    refusal: Option<String>,
}

impl Screen {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(layout: Arc<Layout>) -> Self {
        let hasher = layout.hasher();
        Self { layout, hasher, at: 0, squares: 0.0, refusal: None }
    }

    /// Takes the next block; blocks are multiples of every type's size.
    ///
    /// # Errors
    /// The update cannot count: a coordinate is not finite or beyond ±2^32.
    pub fn take(&mut self, block: &[u8]) -> Result<(), String> {
        self.hasher.update(block);
        let dtype = self.layout.dtype();
        if let Err(error) = sum::check_bytes(self.at, dtype, block) {
            let reason = self.name(&error);
            self.refusal = Some(reason.clone());
            return Err(reason);
        }
        self.squares += squares_of(dtype, block);
        self.at += block.len() / dtype.size();
        Ok(())
    }

    /// Why the update cannot count, if it was seen already.
    pub fn refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    /// The refusal, by tensor and coordinate in it.
    fn name(&self, error: &sum::Error) -> String {
        let (coordinate, what) = match error {
            sum::Error::NonFinite { coordinate } => (*coordinate, "is not finite".to_owned()),
            sum::Error::DeltaOutside { coordinate, value } => {
                (*coordinate, format!("is {value}, beyond ±{}", sum::DELTA_MAX))
            }
            other => return other.to_string(),
        };
        let mut begin = 0;
        for tensor in self.layout.tensors() {
            if coordinate < begin + tensor.count() {
                return format!("tensor `{}`: coordinate {} {what}", tensor.name, coordinate - begin);
            }
            begin += tensor.count();
        }
        error.to_string()
    }

    /// Digest and Euclidean norm of what came.
    #[must_use]
    pub fn finish(&self) -> (Digest, f64) {
        (self.hasher.finalize().into(), self.squares.sqrt())
    }
}
