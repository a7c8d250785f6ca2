//! Published runs on MNIST (McMahan et al. 2017): rounds to a target accuracy. The files are not part of the repository;
//! where they are not, the tests say so. `TRIBUTARY_MNIST` names their folder.

#![expect(clippy::print_stderr, reason = "a gate that was not run must be seen")]

use std::path::PathBuf;

use super::process::{example, run, tributary};

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

fn accuracies(file: &str, seed: u64) -> Option<Vec<f64>> {
    let source = format!("data.source=idx:{}", mnist()?.display());
    let folder = tempfile::tempdir().unwrap();
    let mut command = tributary(folder.path());
    command.arg("sim").arg(example(file)).args(["--json-lines", "--no-out", "--set", &source]);
    command.args(["--set", &format!("run.seed={seed}")]);
    let events = run(&mut command).ends_well().events();
    let rounds = events.iter().filter(|event| event["event"] == "round");
    Some(rounds.map(|round| round["central"]["accuracy"].as_f64().unwrap()).collect())
}

fn check(file: &str, seeds: &[u64], target: f64, gate: std::ops::RangeInclusive<f64>) {
    let mut needed = Vec::new();
    for seed in seeds {
        let Some(accuracies) = accuracies(file, *seed) else { return };
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
