//! The element types that the fold reads.

use tributary_kernels::fold::{self, Term};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A type of coordinate with its inner loops. Half-precision coordinates are read as `f32`, which holds them exactly.
pub trait Value: Copy + Into<f64> + bytemuck::Pod + sealed::Sealed {
    /// The largest magnitude; `None` if a value is not finite.
    fn max_abs(values: &[Self]) -> Option<f64>;
    /// `acc[i] += Σ round(values[k][i] · 2^bits) · n[k]` where every such sum is below 2^51, and the largest magnitude; `None`
    /// with nothing changed where they are not, or a value is not finite.
    fn fold_small<const K: usize>(acc: &mut [i64], values: [&[Self]; K], bits: u32, n: [u64; K]) -> Option<f64>;
    /// `acc[i] += round(values[i] · 2^bits) · n`; the caller proves that nothing overflows.
    fn fold(acc: &mut [i64], values: &[Self], term: Term);
    /// The same in 128 bits.
    fn fold_wide(acc: &mut [i128], values: &[Self], term: Term);
}

impl Value for f32 {
    fn max_abs(values: &[Self]) -> Option<f64> {
        fold::max_abs_f32(values)
    }

    fn fold_small<const K: usize>(acc: &mut [i64], values: [&[Self]; K], bits: u32, n: [u64; K]) -> Option<f64> {
        fold::fold_small_f32(acc, values, bits, n)
    }

    fn fold(acc: &mut [i64], values: &[Self], term: Term) {
        fold::fold_f32(acc, values, term);
    }

    fn fold_wide(acc: &mut [i128], values: &[Self], term: Term) {
        fold::fold_wide_f32(acc, values, term);
    }
}

impl Value for f64 {
    fn max_abs(values: &[Self]) -> Option<f64> {
        fold::max_abs_f64(values)
    }

    fn fold_small<const K: usize>(acc: &mut [i64], values: [&[Self]; K], bits: u32, n: [u64; K]) -> Option<f64> {
        fold::fold_small_f64(acc, values, bits, n)
    }

    fn fold(acc: &mut [i64], values: &[Self], term: Term) {
        fold::fold_f64(acc, values, term);
    }

    fn fold_wide(acc: &mut [i128], values: &[Self], term: Term) {
        fold::fold_wide_f64(acc, values, term);
    }
}
