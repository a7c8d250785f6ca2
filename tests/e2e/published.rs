//! Published runs on MNIST (McMahan et al. 2017): rounds to a target accuracy. The files are not part of the repository;
//! where they are not, the tests say so. `TRIBUTARY_MNIST` names their folder.
//!
//! A round of the CNN takes seconds, so its gate is a long form: `TRIBUTARY_CNN_ROUNDS=14 cargo test --release --workspace
//! --test e2e published -- --nocapture` for 98 %, 60 rounds for 99 % too.

#![expect(clippy::print_stderr, reason = "a gate that was not run must be seen")]

use std::ops::RangeInclusive;
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

fn accuracies(file: &str, seed: u64, set: &[String]) -> Option<Vec<f64>> {
    let source = format!("data.source=idx:{}", mnist()?.display());
    let folder = tempfile::tempdir().unwrap();
    let mut command = tributary(folder.path());
    command.arg("sim").arg(example(file)).args(["--json-lines", "--no-out", "--set", &source]);
    command.args(["--set", &format!("run.seed={seed}")]);
    command.args(set.iter().flat_map(|value| ["--set", value]));
    let events = run(&mut command).ends_well().events();
    let rounds = events.iter().filter(|event| event["event"] == "round");
    Some(rounds.map(|round| round["central"]["accuracy"].as_f64().unwrap()).collect())
}

/// A target accuracy, and the rounds to it that the mean over the seeds may need.
type Gate = (f64, RangeInclusive<f64>);

fn check(file: &str, seeds: &[u64], set: &[String], gates: &[Gate]) {
    let mut curves = Vec::new();
    for seed in seeds {
        let Some(accuracies) = accuracies(file, *seed, set) else { return };
        curves.push((seed, accuracies));
    }
    for (target, allowed) in gates {
        let needed = curves.iter().map(|(seed, accuracies)| {
            rounds_to(accuracies, *target).unwrap_or_else(|| {
                panic!("{file}, seed {seed}: {target} is not reached in {} rounds", accuracies.len())
            })
        });
        let needed: Vec<f64> = needed.collect();
        let mean = needed.iter().sum::<f64>() / needed.len() as f64;
        eprintln!("{file}: rounds to {target}: {needed:.1?}, mean {mean:.1}");
        assert!(allowed.contains(&mean), "{file}: {mean} rounds to {target}, the gate is {allowed:?}");
    }
}

#[test]
fn interpolation_by_hand() {
    assert_eq!(rounds_to(&[0.5, 0.4, 0.9], 0.7), Some(2.5));
    assert_eq!(rounds_to(&[0.5, 0.6], 0.7), None);
}

/// G1: the paper needs 87 rounds, an independent NumPy reference 44.8, 47.2 and 50.3.
#[test]
fn perceptron_with_batches_of_10_reaches_97_percent_in_its_rounds() {
    check("mnist-2nn.toml", &[1, 2, 3], &[], &[(0.97, 35.0..=62.0)]);
}

/// G3: the paper needs 144 rounds, the reference 52.0.
#[test]
fn perceptron_with_batches_of_50_reaches_97_percent_in_its_rounds() {
    check("mnist-2nn-b50.toml", &[1], &[], &[(0.97, 38.0..=75.0)]);
}

/// G6: the paper needs 34 rounds to 99 %, the reference 9.2 to 98 % and 39.1 to 99 %. Near 99 % the curve is flat, and two
/// test examples move it by rounds: seeds 1 to 6 need 50.5, 42.6, 45.0, 38.7, 32.6 and 39.4. The mean counts, as for G1.
#[test]
fn convolutional_network_reaches_98_and_99_percent_in_its_rounds() {
    const FILE: &str = "mnist-cnn.toml";
    let Some(rounds) = from_outside("TRIBUTARY_CNN_ROUNDS") else {
        return eprintln!("TRIBUTARY_CNN_ROUNDS is not set: the gate of {FILE} was not run");
    };
    let gates: &[Gate] = match rounds {
        0..14 => panic!("in {rounds} rounds nothing is to be reached: give 14, or 60"),
        14..60 => &[(0.98, 1.0..=14.0)],
        60.. => &[(0.98, 1.0..=14.0), (0.99, 1.0..=50.0)],
    };
    check(FILE, &[1, 2, 3], &[format!("run.rounds={rounds}")], gates);
}
