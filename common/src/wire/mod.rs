//! From messages to bytes and back: sans-IO, every length bounded before anything is allocated.

pub mod codec;
pub mod frame;
