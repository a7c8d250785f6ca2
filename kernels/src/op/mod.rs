//! The training kernels as differentiable candle operators.
//!
//! On the CPU each function is one `CustomOp` over the kernels: one thread, right gradients, any strides of its
//! inputs, f32 and f64. On another device each is candle's own differentiable composition; the branch is taken
//! here and not inside the operator, whose `cuda_fwd` could not be differentiated.
//!
//! What candle already does well on one thread (element-wise functions, reshapes, reductions) has no operator here.

mod conv2d;
mod cross_entropy;
mod linear;
mod max_pool2d;
#[cfg(test)]
mod testing;
mod values;

pub use self::conv2d::{Conv2dOptions, conv2d};
pub use self::cross_entropy::cross_entropy;
pub use self::linear::linear;
pub use self::max_pool2d::max_pool2d;
