//! The element types that the fold reads.

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A type of coordinate with its inner loops. Half-precision coordinates are read as `f32`, which holds them exactly.
pub trait Value: Copy + Into<f64> + bytemuck::Pod + sealed::Sealed {
    /// The largest magnitude; `None` if a value is not finite.
    fn max_abs(values: &[Self]) -> Option<f64>;
    /// `acc[i] += round(values[i] · 2^bits) · n`; the caller proves that nothing overflows.
    fn fold(acc: &mut [i64], values: &[Self], bits: u32, n: u64);
    /// The same in 128 bits.
    fn fold_wide(acc: &mut [i128], values: &[Self], bits: u32, n: u64);
}

impl Value for f32 {
    fn max_abs(values: &[Self]) -> Option<f64> {
        values
            .iter()
            .all(|value| value.is_finite())
            .then(|| values.iter().fold(0.0_f64, |max, &value| max.max(f64::from(value).abs())))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the caller proves that the integer fits")]
    fn fold(acc: &mut [i64], values: &[Self], bits: u32, n: u64) {
        let (scale, n) = (scale(bits), n.cast_signed());
        acc.iter_mut()
            .zip(values)
            .for_each(|(acc, &value)| *acc += (f64::from(value) * scale).round_ties_even() as i64 * n);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the caller proves that the integer fits")]
    fn fold_wide(acc: &mut [i128], values: &[Self], bits: u32, n: u64) {
        let (scale, n) = (scale(bits), i128::from(n));
        acc.iter_mut()
            .zip(values)
            .for_each(|(acc, &value)| *acc += (f64::from(value) * scale).round_ties_even() as i128 * n);
    }
}

impl Value for f64 {
    fn max_abs(values: &[Self]) -> Option<f64> {
        values
            .iter()
            .all(|value| value.is_finite())
            .then(|| values.iter().fold(0.0_f64, |max, &value| max.max(value.abs())))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the caller proves that the integer fits")]
    fn fold(acc: &mut [i64], values: &[Self], bits: u32, n: u64) {
        let (scale, n) = (scale(bits), n.cast_signed());
        acc.iter_mut().zip(values).for_each(|(acc, &value)| *acc += (value * scale).round_ties_even() as i64 * n);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the caller proves that the integer fits")]
    fn fold_wide(acc: &mut [i128], values: &[Self], bits: u32, n: u64) {
        let (scale, n) = (scale(bits), i128::from(n));
        acc.iter_mut().zip(values).for_each(|(acc, &value)| *acc += (value * scale).round_ties_even() as i128 * n);
    }
}

/// 2^bits.
fn scale(bits: u32) -> f64 {
    f64::from_bits(u64::from(1023 + bits) << 52)
}
