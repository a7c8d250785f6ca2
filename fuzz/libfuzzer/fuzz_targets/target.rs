//! One program for all targets: the environment variable `TRIBUTARY_TARGET` names the one that is fuzzed.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use tributary_fuzz::{TARGETS, Target};

/// Chosen once: a fuzzer calls a million times.
static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let name = std::env::var("TRIBUTARY_TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("set TRIBUTARY_TARGET to one of {}", names.join(", ")))
});

fuzz_target!(|input: &[u8]| -> Corpus {
    if input.len() > TARGET.input_bytes_max {
        return Corpus::Reject;
    }
    (TARGET.run)(input);
    Corpus::Keep
});
