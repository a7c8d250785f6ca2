//! What is found out about an update before it counts: digest, finiteness, range, norm. Server and simulation share it.

use std::sync::Arc;

use tributary_common::Digest;
use tributary_common::parameters::{Layout, squares_of};
use tributary_common::stage::Pipeline;
use tributary_common::sum;

/// What is computed of an update, block by block as it comes.
#[derive(Clone, Debug)]
pub struct Screen {
    layout: Arc<Layout>,
    hasher: blake3::Hasher,
    /// Coordinates seen.
    at: usize,
    /// Only where a stage looks at the norm.
    squares: Option<f64>,
    refusal: Option<String>,
}

impl Screen {
    /// Nothing has come yet of an update that `stages` will open.
    #[must_use]
    pub fn new(layout: Arc<Layout>, stages: &Pipeline) -> Self {
        let (hasher, squares) = (layout.hasher(), stages.needs_norm().then_some(0.0));
        Self { layout, hasher, at: 0, squares, refusal: None }
    }

    /// What the update must fit.
    #[must_use]
    pub const fn layout(&self) -> &Arc<Layout> {
        &self.layout
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
        if let Some(squares) = &mut self.squares {
            *squares += squares_of(dtype, block);
        }
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

    /// Digest and Euclidean norm of what came; a norm that no stage needs is infinite, so that one that looks refuses.
    #[must_use]
    pub fn finish(&self) -> (Digest, f64) {
        (self.hasher.finalize().into(), self.squares.map_or(f64::INFINITY, f64::sqrt))
    }
}
