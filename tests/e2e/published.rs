//! Published runs on MNIST (McMahan et al. 2017): rounds to a target accuracy. The files are not part of the repository;
//! where they are not, the tests say so. `TRIBUTARY_MNIST` names their folder.
//!
//! A round of the CNN takes seconds, so its gate is a long form: `TRIBUTARY_CNN_ROUNDS=14 cargo test --release --workspace
//! --test e2e published -- --nocapture` for 98 %, 50 rounds for 99 % too.

#![expect(clippy::print_stderr, reason = "a gate that was not run must be seen")]

use std::path::PathBuf;

use super::process::{example, from_outside, run, tributary};

fn mnist() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/mnist"));
    let folder = std::env::var_os("TRIBUTARY_MNIST").map_or(beside, PathBuf::from);
    let found = folder.canonicalize().ok();
    if found.is_none() {
        eprintln!("no MNIST in {}: this gate was not run", folder.display());
    }
    found
}

/// Rounds until the best accuracy so far reaches `target`, interpolated between rounds.
fn rounds_to(accuracies: &[f64], target: f64) -> Option<f64> {
    let (mut round, mut best) = (0.0, 0.0);
    for accuracy in accuracies {
        if *accuracy >= target {
            return Some(round + (target - best) / (accuracy - best));
        }
        best = f64::max(best, *accuracy);
        round += 1.0;
    }
    None
}

fn accuracies(file: &str, seed: u64, set: &[&str]) -> Option<Vec<f64>> {
    let source = format!("data.source=idx:{}", mnist()?.display());
    let folder = tempfile::tempdir().unwrap();
    let mut command = tributary(folder.path());
    command.arg("sim").arg(example(file)).args(["--json-lines", "--no-out", "--set", &source]);
    command.args(["--set", &format!("run.seed={seed}")]);
    command.args(set.iter().flat_map(|value| ["--set", *value]));
    let events = run(&mut command).ends_well().events();
    let rounds = events.iter().filter(|event| event["event"] == "round");
    Some(rounds.map(|round| round["central"]["accuracy"].as_f64().unwrap()).collect())
}

fn check(file: &str, seeds: &[u64], target: f64, gate: std::ops::RangeInclusive<f64>) {
    let mut needed = Vec::new();
    for seed in seeds {
        let Some(accuracies) = accuracies(file, *seed, &[]) else { return };
        let rounds = rounds_to(&accuracies, target);
        needed.push(rounds.unwrap_or_else(|| panic!("{file}, seed {seed}: {target} is not reached")));
    }
    let mean = needed.iter().sum::<f64>() / needed.len() as f64;
    eprintln!("{file}: rounds to {target}: {needed:.1?}, mean {mean:.1}");
    assert!(gate.contains(&mean), "{file}: {mean} rounds to {target}, the gate is {gate:?}");
}

#[test]
fn interpolation_by_hand() {
    assert_eq!(rounds_to(&[0.5, 0.4, 0.9], 0.7), Some(2.5));
    assert_eq!(rounds_to(&[0.5, 0.6], 0.7), None);
}

/// G1: the paper needs 87 rounds, an independent NumPy reference 44.8, 47.2 and 50.3.
#[test]
fn perceptron_with_batches_of_10_reaches_97_percent_in_its_rounds() {
    check("mnist-2nn.toml", &[1, 2, 3], 0.97, 35.0..=62.0);
}

/// G3: the paper needs 144 rounds, the reference 52.0.
#[test]
fn perceptron_with_batches_of_50_reaches_97_percent_in_its_rounds() {
    check("mnist-2nn-b50.toml", &[1], 0.97, 38.0..=75.0);
}

/// G6: the paper needs 34 rounds to 99 %, the reference 9.2 to 98 % and 39.1 to 99 %.
#[test]
fn convolutional_network_reaches_98_and_99_percent_in_its_rounds() {
    const FILE: &str = "mnist-cnn.toml";
    let Some(rounds) = from_outside("TRIBUTARY_CNN_ROUNDS") else {
        return eprintln!("TRIBUTARY_CNN_ROUNDS is not set: the gate of {FILE} was not run");
    };
    assert!(rounds >= 14, "in {rounds} rounds nothing is to be reached");
    let Some(accuracies) = accuracies(FILE, 1, &[&format!("run.rounds={rounds}")]) else { return };
    for (target, most) in [(0.98, 14), (0.99, 50)].into_iter().filter(|(_, most)| *most <= accuracies.len()) {
        let needed = rounds_to(&accuracies[..most], target);
        let needed = needed.unwrap_or_else(|| panic!("{FILE}: {target} is not reached in {most} rounds"));
        eprintln!("{FILE}: rounds to {target}: {needed:.1}, allowed are {most}");
    }
}
