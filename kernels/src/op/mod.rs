//! The training kernels as differentiable candle operators.
//!
//! On the CPU each function is one `CustomOp` over the kernels: one thread, right gradients, any strides of its
//! inputs, f32 and f64. On another device each is candle's own differentiable composition, which [`composed`] has for
//! every device; the branch is taken here and not inside the operator, whose `cuda_fwd` could not be differentiated.
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
pub use self::norm::{Norm, group_norm, layer_norm, rms_norm};
pub use self::relu::relu;

/// The same functions out of candle's own operators, on whatever device: what training elsewhere runs, so that the CPU can
/// show what is wrong with it; and, with nothing of ours in it, the reference of the kernels.
pub mod composed {
    pub use super::avg_pool2d::composed as avg_pool2d;
    pub use super::conv2d::composed as conv2d;
    pub use super::cross_entropy::composed as cross_entropy;
    pub use super::embedding::composed as embedding;
    pub use super::linear::composed as linear;
    pub use super::max_pool2d::composed as max_pool2d;
    pub use super::norm::composed::norm;
}
