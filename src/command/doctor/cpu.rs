//! Which vector instructions the kernels find here.

use super::Finding;

const CHECK: &str = "cpu";

/// Features by name, whether they are here, those that matter most first.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("avx512", std::is_x86_feature_detected!("avx512f")),
        ("avx2", std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![("neon", std::arch::is_aarch64_feature_detected!("neon"))]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

pub(super) fn check() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    judge(&features(), cores)
}

fn judge(features: &[(&str, bool)], cores: usize) -> Finding {
    let here: Vec<_> = features.iter().filter(|(_, is_here)| *is_here).map(|(name, _)| *name).collect();
    if here.is_empty() {
        let wanted: Vec<_> = features.iter().map(|(name, _)| *name).collect();
        let wanted = if wanted.is_empty() { "vector instructions".to_owned() } else { wanted.join(" or ") };
        let found = format!("{cores} cores, no {wanted}: training takes several times as long");
        return Finding::warn(CHECK, found, "use a processor with them, or let a virtual machine see its host's");
    }
    Finding::ok(CHECK, format!("{cores} cores, {}", here.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_processor_without_vectors_is_slow_and_not_wrong() {
        assert_eq!(judge(&[("avx512", false), ("avx2", true)], 4), Finding::ok(CHECK, "4 cores, avx2"));
        for none in [&[("neon", false)][..], &[]] {
            let finding = judge(none, 4);
            assert_eq!((finding.verdict, finding.fix.is_some()), (Verdict::Warn, true));
        }
    }
}
