//! Memory of threads that fold, for those that fold next.

use std::sync::{Mutex, PoisonError};

use tributary_common::sum::{Spare, TOGETHER};

/// What one thread needs beside the sum. Fresh memory would cost more than the work: the kernel clears it first.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Parts of a sum.
    pub(super) spare: Spare,
    /// Pieces of updates that were read from a file.
    pub(super) pieces: [Vec<u8>; TOGETHER],
}

/// Those that no thread works with.
#[derive(Debug, Default)]
pub(super) struct Scratches(Mutex<Vec<Scratch>>);

impl Scratches {
    pub(super) fn take(&self) -> Scratch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, scratch: Scratch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}
