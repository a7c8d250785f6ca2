//! Layers of several models at once: input, parameters and result have one more dimension in front, that of the models.
//!
//! Small models keep a large device waiting for the next order. Here one order serves all models: their products of
//! matrices are one product of batches, as `torch.func.stack_module_state` and `vmap` do it. Everything is composed of
//! operators that candle can differentiate, the same on every device. Models never meet: what one of them computes,
//! also an infinity, does not reach another.
//!
//! Layers without parameters are not here: to them the examples of several models are the examples of one.

mod columns;
mod conv2d;
mod embedding;
mod linear;

pub use self::columns::Columns;
pub use self::conv2d::conv2d;
pub use self::embedding::embedding;
pub use self::linear::linear;
pub use super::norm::stacked::norm;
