//! What the tests of every kernel share: reproducible values, comparison within a bound, and central differences.

/// `len` values in [-1, 1), reproducible, without ties or zeros among any few hundred of them.
pub(crate) fn values(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    (0..len)
        .map(|_| {
            // One step of a 64-bit linear congruential generator (Knuth's constants); its high bits are good enough.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64) / ((1_u64 << 52) as f64) - 1.0
        })
        .collect()
}

/// Every pair differs by at most `bound · max(1, |expected|)`.
pub(crate) fn assert_close(actual: &[f64], expected: &[f64], bound: f64) {
    assert_eq!(actual.len(), expected.len(), "lengths differ");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= bound * e.abs().max(1.0), "element {i}: {a} is not {e} within {bound}");
    }
}

/// The gradient of `f` at `x` by central differences. With steps of 1e-5 the error of smooth `f` is about 1e-10.
pub(crate) fn gradient(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let at = x[i];
            x[i] = at + STEP;
            let above = f(&x);
            x[i] = at - STEP;
            let below = f(&x);
            x[i] = at;
            (above - below) / (2.0 * STEP)
        })
        .collect()
}

/// `Σ a·b`: a scalar whose gradient with respect to `a` is `b`, which turns any layer into a loss.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
