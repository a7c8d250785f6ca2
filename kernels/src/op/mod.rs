//! The training kernels as differentiable candle operators.
//!
//! On the CPU each function is one `CustomOp` over the kernels: one thread, right gradients, any strides of its
//! inputs, f32 and f64. On another device each is candle's own differentiable composition; the branch is taken
//! here and not inside the operator, whose `cuda_fwd` could not be differentiated.
//!
//! What candle already does well on one thread (element-wise functions, reshapes, reductions) has no operator here.

mod avg_pool2d;
mod conv2d;
mod cross_entropy;
mod embedding;
mod linear;
mod max_pool2d;
mod norm;
mod parametrised;
mod relu;
pub mod stacked;
#[cfg(test)]
mod testing;
mod unary;
mod values;
mod views;

pub use self::avg_pool2d::avg_pool2d;
pub use self::conv2d::{Conv2dOptions, conv2d};
pub use self::cross_entropy::cross_entropy;
pub use self::embedding::embedding;
pub use self::linear::linear;
pub use self::max_pool2d::max_pool2d;
pub use self::norm::{group_norm, layer_norm, rms_norm};
pub use self::relu::relu;
