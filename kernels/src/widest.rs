//! One loop, compiled for several vector units; the widest that the processor has is run.
//!
//! A loop of plain operations over slices vectorises by itself, but only for what the crate is compiled for, which on
//! x86-64 is SSE2. Here it is compiled again with more features. The operations stay the same, so the results do too, bit
//! for bit.

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
    #[cfg(test)]
    match tests::NARROWER.get() {
        0 => {}
        1 if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") => {
            #[expect(
                unsafe_code,
                reason = "a function compiled for more features may only be called where they exist"
            )]
            // SAFETY: as below.
            return unsafe { avx2(pass) };
        }
        _ => return pass.run(),
    }
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

#[cfg(test)]
pub(crate) use tests::on_each;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    thread_local! {
        /// How many of the wider vector units this thread's loops leave aside: 0 runs what the processor has, 1 AVX2 at
        /// most, 2 what the crate is compiled for.
        pub(super) static NARROWER: Cell<u8> = const { Cell::new(0) };
    }

    /// What `work` gives on each vector unit that its loops are compiled for, the narrowest first.
    pub(crate) fn on_each<R>(work: impl Fn() -> R) -> Vec<R> {
        let on = |narrower| {
            NARROWER.set(narrower);
            let given = work();
            NARROWER.set(0);
            given
        };
        [2, 1, 0].map(on).into()
    }
}
