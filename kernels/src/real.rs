//! The two element types that training runs in.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// f32 or f64. Sealed: the matrix product knows these two, and kernels are tuned for the first.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + AddAssign
    + Div<Output = Self>
    + Mul<Output = Self>
    + MulAssign
    + Neg<Output = Self>
    + Sub<Output = Self>
    + SubAssign
    + sealed::Sealed
    + 'static
{
    /// Nothing.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Below every number: where a search for a maximum starts.
    const NEG_INFINITY: Self;

    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The same value in double precision.
    fn to_f64(self) -> f64;
    /// e to this power.
    #[must_use]
    fn exp(self) -> Self;
    /// The same slice if this type is f32, for kernels that exist in single precision only.
    fn as_single(values: &[Self]) -> Option<&[f32]>;
    /// The same slice if this type is f32.
    fn as_single_mut(values: &mut [Self]) -> Option<&mut [f32]>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEG_INFINITY: Self = Self::NEG_INFINITY;

    #[inline]
    fn from_f64(value: f64) -> Self {
        // Rounds to nearest, which is what a narrower type means.
        value as Self
    }

    #[inline]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline]
    fn exp(self) -> Self {
        self.exp()
    }

    #[inline]
    fn as_single(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }

    #[inline]
    fn as_single_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEG_INFINITY: Self = Self::NEG_INFINITY;

    #[inline]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline]
    fn exp(self) -> Self {
        self.exp()
    }

    #[inline]
    fn as_single(_: &[Self]) -> Option<&[f32]> {
        None
    }

    #[inline]
    fn as_single_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
}
