//! One loop, compiled for several vector units; the widest that the processor has is run.
//!
//! A loop of plain operations over slices vectorises by itself, but only for what the crate is compiled for, which on
//! x86-64 is SSE2. Here it is compiled again with more features. The operations stay the same, so the results do too.

/// A loop and what it works on. `run` must be `#[inline(always)]`, or it is compiled for the narrowest unit only.
pub trait Pass {
    /// What the loop returns.
    type Out;

    /// Runs the loop.
    fn run(self) -> Self::Out;
}

/// Runs `pass` with the widest vectors that this processor has. The standard library caches the answer.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn run<P: Pass>(pass: P) -> P::Out {
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
        #[expect(unsafe_code, reason = "a function compiled for more features may only be called where they exist")]
        // SAFETY: the processor has both features that the callee is compiled for; it is safe code otherwise.
        unsafe {
            avx512(pass)
        }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        #[expect(unsafe_code, reason = "a function compiled for more features may only be called where they exist")]
        // SAFETY: the processor has both features that the callee is compiled for; it is safe code otherwise.
        unsafe {
            avx2(pass)
        }
    } else {
        pass.run()
    }
}

/// Runs `pass` as it is compiled for this architecture.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn run<P: Pass>(pass: P) -> P::Out {
    pass.run()
}

/// Whether what [`run`] chooses multiplies and adds in one instruction; where it does not, [`f64::mul_add`] is a call.
#[must_use]
pub fn has_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// Eight doubles at once, with a 64-bit multiplication in hardware.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn avx512<P: Pass>(pass: P) -> P::Out {
    pass.run()
}

/// Four doubles at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn avx2<P: Pass>(pass: P) -> P::Out {
    pass.run()
}
