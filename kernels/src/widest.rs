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

/// A vector unit that loops are compiled for.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Portable,
    Avx2,
    Avx512,
}

#[cfg(target_arch = "x86_64")]
impl Unit {
    /// The widest that this processor has, and a test leaves. The standard library caches the answer.
    #[inline]
    fn widest() -> Self {
        let there = if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            Self::Avx512
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            Self::Avx2
        } else {
            Self::Portable
        };
        #[cfg(test)]
        let there = there.min(tests::WIDEST.get());
        there
    }
}

/// Runs `pass` with the widest vectors that this processor has.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn run<P: Pass>(pass: P) -> P::Out {
    #[expect(unsafe_code, reason = "a function compiled for more features may only be called where they exist")]
    match Unit::widest() {
        // SAFETY: the processor has the features that the callee is compiled for, as has every one with a wider unit; it
        // is safe code otherwise.
        Unit::Avx512 => unsafe { avx512(pass) },
        // SAFETY: likewise.
        Unit::Avx2 => unsafe { avx2(pass) },
        Unit::Portable => pass.run(),
    }
}

/// Runs `pass` as it is compiled for this architecture.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn run<P: Pass>(pass: P) -> P::Out {
    pass.run()
}

/// A way to multiply and add doubles that are integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Two instructions; [`f64::mul_add`] is a call.
    Separate,
    /// One instruction.
    Fused,
    /// 64-bit integers, in hardware.
    Integer,
}

/// The way with the fewest instructions on the vector unit that [`run`] chooses.
#[must_use]
pub fn product() -> Product {
    #[cfg(target_arch = "x86_64")]
    return match Unit::widest() {
        Unit::Portable => Product::Separate,
        Unit::Avx2 => Product::Fused,
        Unit::Avx512 => Product::Integer,
    };
    #[cfg(not(target_arch = "x86_64"))]
    return if cfg!(target_arch = "aarch64") { Product::Fused } else { Product::Separate };
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
    #[cfg(target_arch = "x86_64")]
    use std::cell::Cell;

    #[cfg(target_arch = "x86_64")]
    use super::Unit;

    #[cfg(target_arch = "x86_64")]
    thread_local! {
        /// The widest vector unit that this thread's loops may use.
        pub(super) static WIDEST: Cell<Unit> = const { Cell::new(Unit::Avx512) };
    }

    /// What `work` gives on each vector unit that its loops are compiled for, the narrowest first.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn on_each<R>(work: impl Fn() -> R) -> Vec<R> {
        let on = |unit| {
            WIDEST.set(unit);
            let given = work();
            WIDEST.set(Unit::Avx512);
            given
        };
        [Unit::Portable, Unit::Avx2, Unit::Avx512].map(on).into()
    }

    /// What `work` gives as its loops are compiled for this architecture.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn on_each<R>(work: impl Fn() -> R) -> Vec<R> {
        vec![work()]
    }
}
