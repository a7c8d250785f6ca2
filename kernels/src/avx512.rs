//! The few vector instructions that the hot loops are written in, and whether this processor has them.
//!
//! Only loads need `unsafe`, because the instruction takes a pointer; a reference to sixteen floats is the proof.

use std::arch::x86_64::{__m512, _mm512_loadu_ps, _mm512_storeu_ps};

/// Floats of one register.
pub(crate) const LANES: usize = 16;

/// Whether functions compiled for AVX-512 may be called. The standard library caches the answer.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load(values: &[f32; LANES]) -> __m512 {
    #[expect(unsafe_code, reason = "the instruction takes a pointer")]
    // SAFETY: the reference is valid for sixteen floats, and this load needs no alignment.
    unsafe {
        _mm512_loadu_ps(values.as_ptr())
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn store(values: &mut [f32; LANES], register: __m512) {
    #[expect(unsafe_code, reason = "the instruction takes a pointer")]
    // SAFETY: the reference is valid and exclusive for sixteen floats, and this store needs no alignment.
    unsafe {
        _mm512_storeu_ps(values.as_mut_ptr(), register);
    }
}
