//! `y[i][j] = x[i] · w[j]`: the product of a few long rows with many, on AVX-512.
//!
//! A general matrix product first packs the larger side; for the forward pass of a wide layer over a small batch
//! that packing is most of the time. Here every weight is read once, in order, straight from where it lives.

use std::arch::x86_64::{__m512, _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_setzero_ps};

use crate::avx512::{LANES, load};

/// Rows of `x` in one tile, and of `w`: 24 of the 32 registers hold sums.
const X_ROWS: usize = 6;
const W_ROWS: usize = 4;

/// Writes `y` `[rows of x, rows of w]`; both sides have rows of `inner` elements.
///
/// # Panics
/// If a length is no multiple of `inner`, or `y` has another shape.
#[target_feature(enable = "avx512f")]
pub(crate) fn dots(inner: usize, x: &[f32], w: &[f32], y: &mut [f32]) {
    let outputs = w.len() / inner;
    if x.is_empty() {
        return;
    }
    assert!(x.len().is_multiple_of(inner) && w.len().is_multiple_of(inner), "rows of {inner} elements");
    assert_eq!(y.len(), x.len() / inner * outputs, "one result per pair of rows");
    let mut blocks = w.chunks_exact(W_ROWS * inner);
    for (block, w) in blocks.by_ref().enumerate() {
        block_of::<W_ROWS>(inner, x, w, outputs, &mut y[block * W_ROWS..]);
    }
    let rest = blocks.remainder();
    for (i, w) in rest.chunks_exact(inner).enumerate() {
        block_of::<1>(inner, x, w, outputs, &mut y[outputs - rest.len() / inner + i..]);
    }
}

/// All rows of `x` with `W` rows of `w`; `y` begins at the first pair.
#[target_feature(enable = "avx512f")]
fn block_of<const W: usize>(inner: usize, x: &[f32], w: &[f32], outputs: usize, y: &mut [f32]) {
    for (tile, x) in x.chunks(X_ROWS * inner).enumerate() {
        let y = &mut y[tile * X_ROWS * outputs..];
        match x.len() / inner {
            1 => tile_of::<1, W>(inner, x, w, outputs, y),
            2 => tile_of::<2, W>(inner, x, w, outputs, y),
            3 => tile_of::<3, W>(inner, x, w, outputs, y),
            4 => tile_of::<4, W>(inner, x, w, outputs, y),
            5 => tile_of::<5, W>(inner, x, w, outputs, y),
            X_ROWS => tile_of::<X_ROWS, W>(inner, x, w, outputs, y),
            _ => unreachable!("a tile has 1 to {X_ROWS} rows"),
        }
    }
}

#[target_feature(enable = "avx512f")]
fn tile_of<const X: usize, const W: usize>(inner: usize, x: &[f32], w: &[f32], outputs: usize, y: &mut [f32]) {
    let whole = inner / LANES * LANES;
    let mut sums = [[_mm512_setzero_ps(); W]; X];
    // Cutting every row to the same length once lets the compiler drop the checks in the loop.
    let mut x_rows = [&x[..0]; X];
    let mut w_rows = [&w[..0]; W];
    let mut x_rest = [[0.0; LANES]; X];
    let mut w_rest = [[0.0; LANES]; W];
    for i in 0..X {
        x_rows[i] = &x[i * inner..][..whole];
        x_rest[i][..inner - whole].copy_from_slice(&x[i * inner + whole..][..inner - whole]);
    }
    for j in 0..W {
        w_rows[j] = &w[j * inner..][..whole];
        w_rest[j][..inner - whole].copy_from_slice(&w[j * inner + whole..][..inner - whole]);
    }
    let x_rows = x_rows.map(|row| row.as_chunks::<LANES>().0);
    let w_rows = w_rows.map(|row| row.as_chunks::<LANES>().0);
    for at in 0..whole / LANES {
        let mut weights = [_mm512_setzero_ps(); W];
        for j in 0..W {
            weights[j] = load(&w_rows[j][at]);
        }
        for i in 0..X {
            accumulate(&mut sums[i], load(&x_rows[i][at]), &weights);
        }
    }
    if whole < inner {
        let mut weights = [_mm512_setzero_ps(); W];
        for j in 0..W {
            weights[j] = load(&w_rest[j]);
        }
        for i in 0..X {
            accumulate(&mut sums[i], load(&x_rest[i]), &weights);
        }
    }
    for i in 0..X {
        for j in 0..W {
            y[i * outputs + j] = _mm512_reduce_add_ps(sums[i][j]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn accumulate<const W: usize>(sums: &mut [__m512; W], x: __m512, weights: &[__m512; W]) {
    for j in 0..W {
        sums[j] = _mm512_fmadd_ps(x, weights[j], sums[j]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, values};

    #[test]
    fn every_tile_equals_the_naive_sums() {
        if !crate::avx512::is_available() {
            return;
        }
        for inner in [1, 15, 16, 17, 40, 784] {
            for (rows, outputs) in [(1, 1), (2, 5), (3, 4), (4, 6), (5, 4), (6, 8), (10, 7), (13, 12), (0, 4)] {
                let (x, w) = (values(1, rows * inner), values(2, outputs * inner));
                let single = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
                let mut y = vec![f32::NAN; rows * outputs];
                #[expect(unsafe_code, reason = "the function is compiled for AVX-512")]
                // SAFETY: the processor has AVX-512.
                unsafe {
                    dots(inner, &single(&x), &single(&w), &mut y);
                }
                let expected: Vec<f64> = (0..rows * outputs)
                    .map(|i| {
                        let (x, w) = (&x[i / outputs * inner..][..inner], &w[i % outputs * inner..][..inner]);
                        x.iter().zip(w).map(|(a, b)| a * b).sum()
                    })
                    .collect();
                let y: Vec<f64> = y.into_iter().map(f64::from).collect();
                // Sums of up to 784 products below one, in single precision.
                assert_close(&y, &expected, 2e-5);
            }
        }
    }
}
