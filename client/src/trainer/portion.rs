//! How much is computed at once on a device whose memory may not hold all of it: ever smaller halves, until one fits.

use candle_core::{Error, Result};

use crate::device::Device;

/// The most that fitted so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion(usize);

impl Portion {
    /// As much as there is, until the memory says otherwise.
    pub(super) const fn unlimited() -> Self {
        Self(usize::MAX)
    }

    /// At most so much at once, at least 1.
    #[cfg(test)]
    pub(super) fn at_most(most: usize) -> Self {
        Self(most.max(1))
    }

    /// Calls `attempt` with how much of `whole` is to be computed at once, with half of it when the memory does not suffice,
    /// and so on. What fits is remembered, so that a shortage is met once. `attempt` must change nothing when it fails.
    ///
    /// # Errors
    /// Those of `attempt`; a shortage of memory only where not even 1 fits.
    pub(super) fn fit<R>(&mut self, whole: usize, mut attempt: impl FnMut(usize) -> Result<R>) -> Result<R> {
        loop {
            let size = whole.min(self.0);
            match attempt(size) {
                Err(error) if is_shortage(&error) && size > 1 => self.0 = size.div_ceil(2),
                result => return result,
            }
        }
    }
}

/// Whether the device's memory did not suffice. The library has no kind of its own for it, only the names that the driver
/// and the matrix library give it.
pub(super) fn is_shortage(error: &Error) -> bool {
    let text = error.to_string();
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"].iter().any(|name| text.contains(name))
}

/// What a failure means to the user: where the memory did not suffice, that `needed` bytes are needed at once.
pub(super) fn explain(error: Error, device: &Device, needed: usize) -> super::Error {
    if !is_shortage(&error) {
        return error.into();
    }
    let free = device.free_bytes().map_or_else(String::new, |free| format!(", of which {free} are free"));
    super::Error::OutOfMemory { device: device.name().to_owned(), needed, free }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortage() -> Error {
        Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".to_owned())
    }

    /// Otherwise one batch that is too large ends a run that smaller portions could do.
    #[test]
    fn a_shortage_halves_the_portion_once_and_for_all() {
        let mut portion = Portion::unlimited();
        let mut tried = Vec::new();
        for _ in 0..2 {
            let fitted = portion.fit(100, |size| {
                tried.push(size);
                if size > 20 { Err(shortage()) } else { Ok(size) }
            });
            assert_eq!(fitted.unwrap(), 13);
        }
        assert_eq!(tried, [100, 50, 25, 13, 13]);
    }

    #[test]
    fn what_no_smaller_portion_mends_is_an_error_at_once() {
        let mut tried = Vec::new();
        let error = Portion::at_most(0).fit(5, |size| {
            tried.push(size);
            Err::<(), _>(shortage())
        });
        assert!(is_shortage(&error.unwrap_err()) && tried == [1], "{tried:?}");
        let error = Portion::unlimited().fit(5, |_| Err::<(), _>(Error::Msg("shape mismatch".to_owned())));
        assert_eq!(error.unwrap_err().to_string(), "shape mismatch");
    }
}
