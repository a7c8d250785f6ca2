//! Looking rows of each model's own table up.

use candle_core::{Result, Tensor, bail};

/// The rows that `indices` `[models, batch, …]` (u32) name in the tables `[models, count, size]`: the indices' shape, and
/// `size` last. The caller has found every index to be below the count; a larger one is an error or the row of another model.
///
/// # Errors
/// If the shapes, types or devices do not fit, or the tables have 2^32 rows or more together.
pub fn embedding(indices: &Tensor, tables: &Tensor) -> Result<Tensor> {
    let (models, count, size) = tables.dims3()?;
    let (Ok(rows), Ok(step)) = (u32::try_from(models * count), u32::try_from(count)) else {
        bail!("embedding: {models} tables of {count} rows have 2^32 rows or more")
    };
    let starts: Vec<u32> = (0..rows).step_by(step.max(1) as usize).collect();
    let starts = Tensor::from_vec(starts, (models, 1), indices.device())?;
    let places = indices.reshape((models, ()))?.broadcast_add(&starts)?;
    let rows = tables.reshape((models * count, size))?.index_select(&places.flatten_all()?, 0)?;
    rows.reshape([indices.dims(), &[size]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::testing::{check_gradients, each, same, tensor, tensor_of};

    #[test]
    fn each_model_looks_its_own_table_up() {
        let places = [2_u32, 0, 2, 3, 1, 1, 0, 3, 0, 0, 2, 1];
        let tables = tensor(1, &[2, 4, 3]);
        for dims in [&[2, 6][..], &[2, 2, 3]] {
            let indices = tensor_of(&places, dims);
            let alone = each([&indices, &tables], |[indices, table]| crate::op::embedding(indices, table));
            same(&embedding(&indices, &tables).unwrap(), &alone);
            check_gradients(std::array::from_ref(&tables), |[tables]| embedding(&indices, tables));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let indices = tensor_of(&[0_u32; 3], &[3, 1]);
        assert!(embedding(&indices, &tensor(1, &[2, 4, 3])).is_err());
        assert!(embedding(&indices, &tensor(1, &[4, 3])).is_err());
    }
}
