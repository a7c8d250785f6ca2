//! How a stored value becomes the model's input: x / divide, then (x − mean) / std.

use tributary_common::model::Input;
use tributary_kernels::divide;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The type in which a model computes. Every operation of the preparation is done in it, so that a double-precision run
/// sees `pixel / 16` exactly.
pub trait Real: tributary_kernels::real::Real + From<u8> + sealed::Sealed {
    /// The nearest value of the type.
    fn nearest(value: f64) -> Self;
    /// A stored value of a table, exact.
    fn stored(value: f32) -> Self;
}

impl Real for f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the type is the purpose")]
    fn nearest(value: f64) -> Self {
        value as Self
    }

    fn stored(value: f32) -> Self {
        value
    }
}

impl Real for f64 {
    fn nearest(value: f64) -> Self {
        value
    }

    fn stored(value: f32) -> Self {
        Self::from(value)
    }
}

/// The preparation of a run in one type.
#[derive(Clone, Debug)]
pub(super) struct Scale<T> {
    divide: T,
    /// Mean and standard deviation of each value of an example; empty for none.
    constants: Vec<(T, T)>,
}

impl<T: Real> Scale<T> {
    pub(super) fn of(input: &Input) -> Self {
        let divide = T::nearest(input.divide);
        let constants = input.standardise.as_ref().map_or_else(Vec::new, |constants| {
            constants.mean.iter().zip(&constants.std).map(|(&mean, &std)| (T::nearest(mean), T::nearest(std))).collect()
        });
        Self { divide, constants }
    }

    pub(super) fn read_bytes(&self, stored: &[u8], out: &mut [T]) {
        divide::bytes(stored, self.divide, out);
        self.standardise(out);
    }

    pub(super) fn read_reals(&self, stored: &[f32], out: &mut [T]) {
        for (out, &value) in out.iter_mut().zip(stored) {
            *out = T::stored(value) / self.divide;
        }
        self.standardise(out);
    }

    fn standardise(&self, out: &mut [T]) {
        for (out, &(mean, std)) in out.iter_mut().zip(&self.constants) {
            *out = (*out - mean) / std;
        }
    }
}
