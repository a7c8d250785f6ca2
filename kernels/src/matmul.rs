//! Matrix products on the calling thread: the one file that calls `gemm`.
//!
//! `gemm` takes raw pointers and strides. Here they become slices whose bounds are asserted once per product, so
//! that everything above stays safe code.

use gemm::Parallelism;

use crate::real::Real;

/// A matrix inside a slice: element (i, j) is `data[i · row_stride + j · column_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T: Real> Matrix<'a, T> {
    /// A row-major matrix that fills the slice.
    ///
    /// # Panics
    /// If the slice does not hold `rows · columns` elements.
    #[must_use]
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a {rows} × {columns} matrix must fill its slice");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transposed matrix over the same elements.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// `destination ← keep · destination + factor · left · right`, row-major. With `keep` 0 the old content is not read.
///
/// # Panics
/// If the shapes do not fit each other or the destination's length.
pub fn matmul<T: Real>(destination: &mut [T], keep: T, factor: T, left: Matrix<'_, T>, right: Matrix<'_, T>) {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    assert_eq!(inner, right.rows, "the left matrix's columns must be the right one's rows");
    assert_eq!(destination.len(), rows * columns, "the destination must hold the {rows} × {columns} product");
    if rows == 0 || columns == 0 {
        return;
    }
    if inner == 0 {
        destination.iter_mut().for_each(|d| *d = if keep == T::ZERO { T::ZERO } else { *d * keep });
        return;
    }
    // Both constructors keep this; it is asserted again because the call below rests on it.
    for side in [left, right] {
        let last = (side.rows - 1) * side.row_stride + (side.columns - 1) * side.column_stride;
        assert!(last < side.data.len(), "a matrix must lie inside its slice");
    }
    // A stride inside a slice fits isize, because no allocation is larger.
    let stride = |s: usize| s as isize;
    #[expect(unsafe_code, reason = "gemm's interface is pointers and strides")]
    // SAFETY: the destination is a dense row-major rows × columns block borrowed exclusively, so it aliases neither
    // side; both sides' last element lies inside their slices, all strides are non-negative, and T is f32 or f64
    // (`Real` is sealed), which `gemm` knows.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            destination.as_mut_ptr(),
            1,
            stride(columns),
            keep != T::ZERO,
            left.data.as_ptr(),
            stride(left.column_stride),
            stride(left.row_stride),
            right.data.as_ptr(),
            stride(right.column_stride),
            stride(right.row_stride),
            keep,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, values};

    fn reference(m: usize, k: usize, n: usize, left: impl Fn(usize, usize) -> f64, right: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                product[i * n + j] = (0..k).map(|l| left(i, l) * right[l * n + j]).sum();
            }
        }
        product
    }

    #[test]
    fn odd_shapes_and_transposed_sides_equal_the_naive_product() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (17, 33, 9), (1, 64, 31), (20, 1, 20)] {
            let (a, b) = (values(1, m * k), values(2, k * n));
            let expected = reference(m, k, n, |i, l| a[i * k + l], &b);
            let mut product = vec![9.0; m * n];
            matmul(&mut product, 0.0, 1.0, Matrix::new(&a, m, k), Matrix::new(&b, k, n));
            assert_close(&product, &expected, 1e-12);
            let expected = reference(m, k, n, |i, l| a[l * m + i], &b);
            matmul(&mut product, 0.0, 1.0, Matrix::new(&a, k, m).transposed(), Matrix::new(&b, k, n));
            assert_close(&product, &expected, 1e-12);
        }
    }

    #[test]
    fn keeps_and_scales_the_old_content() {
        let mut d = [1.0_f32, 2.0];
        matmul(&mut d, 3.0, -1.0, Matrix::new(&[2.0], 1, 1), Matrix::new(&[5.0, 7.0], 1, 2));
        assert_eq!(d, [3.0 - 10.0, 6.0 - 14.0]);
    }

    #[test]
    fn stale_not_a_number_is_overwritten() {
        let mut d = [f64::NAN];
        matmul(&mut d, 0.0, 1.0, Matrix::new(&[2.0], 1, 1), Matrix::new(&[4.0], 1, 1));
        assert_eq!(d, [8.0]);
    }

    #[test]
    fn empty_sides_leave_the_scaled_destination() {
        let mut d = [2.0_f64];
        matmul(&mut d, 0.5, 1.0, Matrix::new(&[], 1, 0), Matrix::new(&[], 0, 1));
        assert_eq!(d, [1.0]);
        matmul::<f64>(&mut [], 0.0, 1.0, Matrix::new(&[], 0, 3), Matrix::new(&[1.0, 2.0, 3.0], 3, 1));
    }
}
