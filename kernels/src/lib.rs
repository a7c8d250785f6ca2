//! CPU kernels: what the rest of the workspace does not want to write with vectors and cache sizes in mind.
//!
//! * [`fold`]: adding updates to the exact integer sum. Always here, without any dependency, as is [`widest`]: a loop over
//!   plain slices, run with the widest vectors of the processor.
//! * The feature `train`: forward and backward passes over plain row-major slices, generic over f32 and f64.
//!   [`linear`], [`conv2d`], [`embedding`], [`max_pool2d`], [`avg_pool2d`], [`group_norm`], [`layer_norm`], [`rms_norm`],
//!   [`relu`] and [`dropout`] are layers, [`cross_entropy`] and [`mse`] losses, [`sgd`] the update, [`divide`] prepares
//!   images; [`matmul`] is what most of them stand on.
//! * The feature `candle`: [`op`], the same as differentiable candle operators.
//!
//! No kernel starts a thread, draws a random number or reads a clock; callers own all three. No kernel allocates
//! where its documentation does not name a [`workspace::Workspace`]. Shapes are the caller's promise: a slice of
//! another length than the shape says is a broken invariant and panics; check what comes from outside before.

#[cfg(feature = "train")]
pub mod avg_pool2d;
#[cfg(all(feature = "train", target_arch = "x86_64"))]
mod avx512;
#[cfg(feature = "train")]
pub mod conv2d;
#[cfg(feature = "train")]
pub mod cross_entropy;
#[cfg(feature = "train")]
pub mod divide;
#[cfg(all(feature = "train", target_arch = "x86_64"))]
mod dots;
#[cfg(feature = "train")]
pub mod dropout;
#[cfg(feature = "train")]
pub mod embedding;
#[cfg(all(test, feature = "train"))]
mod finite_difference;
pub mod fold;
#[cfg(feature = "train")]
mod gradients;
#[cfg(feature = "train")]
pub mod group_norm;
#[cfg(feature = "train")]
pub mod layer_norm;
#[cfg(feature = "train")]
pub mod linear;
#[cfg(feature = "train")]
pub mod matmul;
#[cfg(feature = "train")]
pub mod max_pool2d;
#[cfg(feature = "train")]
pub mod mse;
#[cfg(feature = "train")]
mod norm;
#[cfg(feature = "candle")]
pub mod op;
#[cfg(all(test, feature = "train"))]
mod passes;
#[cfg(feature = "train")]
pub mod real;
#[cfg(feature = "train")]
pub mod relu;
#[cfg(feature = "train")]
pub mod rms_norm;
#[cfg(feature = "train")]
pub mod sgd;
pub mod widest;
#[cfg(feature = "train")]
pub mod window;
#[cfg(feature = "train")]
pub mod workspace;
