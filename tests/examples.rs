//! The examples, run as they were built: what they promise in their first lines is what they print.
//!
//! `cargo test` builds them beside this test; `cargo test --test examples` alone does not.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]

use std::path::PathBuf;
use std::process::Command;

/// What an example prints.
fn run(name: &str) -> String {
    // This test is `target/PROFILE/deps/examples-…`, the example `target/PROFILE/examples/NAME`.
    let test = std::env::current_exe().unwrap();
    let example: PathBuf = test.parent().unwrap().with_file_name("examples").join(name);
    let output = Command::new(&example).output().unwrap_or_else(|error| {
        panic!("could not run `{}`: {error}; build the examples: cargo build --release --examples", example.display())
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed:\n{out}{err}");
    out.into_owned()
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no line `{start}…` in:\n{text}"))
}

#[test]
fn own_trainer_finds_the_law_in_one_round() {
    let printed = run("own_trainer");
    assert!(printed.contains("round 1: 3 sites"), "{printed}");
    let weights = [numbers(line(&printed, "0.weight =")), numbers(line(&printed, "0.bias ="))].concat();
    // The noise has a deviation of 0.1; 480 points leave errors of a few hundredths.
    for (found, law) in weights.iter().zip([2.0, -1.0, 3.0]) {
        assert!((found - law).abs() < 0.1, "{found} instead of {law}:\n{printed}");
    }
    assert_eq!(weights.len(), 3);
}

#[test]
fn own_rule_holds_where_the_mean_does_not() {
    let printed = run("own_rule");
    let of = |start| numbers(line(&printed, start))[0];
    assert!(of("three lie, mean") < 60.0 && of("three lie, trimmed mean") > 88.0, "{printed}");
    let loss = of("nobody lies, mean") - of("nobody lies, trimmed mean");
    assert!(loss < 3.0, "{printed}");
}

#[test]
fn embedded_coordinator_stops_when_its_program_wants() {
    let printed = run("embed_coordinator");
    assert!(printed.contains("tributary://example/coordinator/hub listens on"), "{printed}");
    let done = line(&printed, "suspended after ");
    assert!(numbers(done)[0] < 100.0, "{printed}");
    line(&printed, "version ");
}
