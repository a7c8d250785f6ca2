//! Looking rows of a table up.

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor, bail};

use super::unary::{Unary, apply};
use super::values::{Element, compute, read};
use crate::embedding::{self, Embedding};

/// The rows of `table` `[count, size]` that `indices` (u32, of any shape) name: the indices' shape, and `size` last.
///
/// # Errors
/// If an index is not below the count, or the shapes, types or devices do not fit.
pub fn embedding(indices: &Tensor, table: &Tensor) -> Result<Tensor> {
    if !table.device().is_cpu() {
        return composed(indices, table);
    }
    let places = checked(indices, table)?;
    apply(EmbeddingOp { places }, table)?.reshape([indices.dims(), &table.dims()[1..]].concat())
}

/// [`embedding()`] out of candle's operators.
///
/// # Errors
/// If an index is not below the count, or the shapes, types or devices do not fit.
pub fn composed(indices: &Tensor, table: &Tensor) -> Result<Tensor> {
    checked(indices, table)?;
    let rows = table.index_select(&indices.flatten_all()?, 0)?;
    rows.reshape([indices.dims(), &table.dims()[1..]].concat())
}

/// The indices, each below the number of rows.
fn checked(indices: &Tensor, table: &Tensor) -> Result<Vec<u32>> {
    let (count, size) = table.dims2()?;
    let places = indices.flatten_all()?.to_vec1::<u32>()?;
    if size == 0 || places.iter().any(|&index| index as usize >= count) {
        bail!("embedding: an index is not below the {count} rows of the table, or these are empty");
    }
    Ok(places)
}

/// The indices stay with the operator: they are whole numbers, and no gradient is theirs.
struct EmbeddingOp {
    places: Vec<u32>,
}

impl Unary for EmbeddingOp {
    const NAME: &'static str = "embedding";

    fn forward_in<T: Element>(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (count, size) = layout.shape().dims2()?;
        let mut y = vec![T::ZERO; self.places.len() * size];
        embedding::forward(Embedding { count, size }, &self.places, read::<T>(storage, layout)?, &mut y);
        Ok((T::to_cpu_storage_owned(y), Shape::from((self.places.len(), size))))
    }

    fn backward_in<T: Element>(&self, table: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let (count, size) = table.dims2()?;
        compute::<T, 1>([dy], table.shape(), |[dy], dtable| {
            embedding::backward(Embedding { count, size }, &self.places, dy, dtable);
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::op::testing::{check_gradients, is_tested, on_cpu, same, tensor, tensor_of};

    fn indices(values: &[u32], dims: &[usize]) -> Tensor {
        tensor_of(values, dims)
    }

    #[test]
    fn equals_candles_selection_forward_and_backward() {
        let table = tensor(1, &[4, 3]);
        for places in [indices(&[2, 0, 2, 3], &[4]), indices(&[2, 0, 2, 3], &[2, 2]), indices(&[], &[0, 2])] {
            if !is_tested(places.dims()) {
                continue;
            }
            let flat = on_cpu(&places.flatten_all().unwrap());
            let y = embedding(&places, &table).unwrap();
            assert_eq!(y.dims(), [places.dims(), &[3]].concat());
            same(&y.reshape(((), 3)).unwrap(), &on_cpu(&table).index_select(&flat, 0).unwrap());
            for run in [embedding, composed] {
                check_gradients(std::array::from_ref(&table), |[table]| run(&places, table));
            }
        }
    }

    #[test]
    fn transposed_tables_and_indices_are_read_in_order() {
        let places = indices(&[0, 1, 2, 3, 0, 1], &[2, 3]).t().unwrap();
        let table = tensor(1, &[3, 4]);
        same(
            &embedding(&places, &table.t().unwrap()).unwrap(),
            &embedding(&places.contiguous().unwrap(), &table.t().unwrap().contiguous().unwrap()).unwrap(),
        );
        check_gradients(&[table], |[table]| embedding(&places, &table.t()?));
    }

    #[test]
    fn indices_and_types_that_do_not_fit_are_errors() {
        let indices = |values: &[u32], dims: &[usize]| on_cpu(&indices(values, dims));
        let tensor = |seed, dims: &[usize]| on_cpu(&tensor(seed, dims));
        let table = tensor(1, &[4, 3]);
        assert!(embedding(&indices(&[4], &[1]), &table).is_err());
        assert!(embedding(&indices(&[0], &[1]), &tensor(1, &[4])).is_err());
        assert!(embedding(&indices(&[0], &[1]), &tensor(1, &[4, 0])).is_err());
        assert!(embedding(&tensor(1, &[2]), &table).is_err());
        assert!(embedding(&indices(&[0], &[1]), &table.to_dtype(DType::U8).unwrap()).is_err());
    }
}
