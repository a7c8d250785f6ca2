//! Runs without randomness end in cells that were computed independently in NumPy float64.

use serde_json::Value;

use super::process::{example, run, tributary};

/// Loss over the training rows and accuracy on the test rows, after rounds 1, 10 and 50; the norm after round 50.
fn check(file: &str, more: &[&str], cells: [(f64, f64); 3], norm: f64, tolerance: f64) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tributary(folder.path());
    command.arg("sim").arg(example(file)).args(["--json-lines", "--no-out"]).args(more);
    let events = run(&mut command).ends_well().events();
    let rounds: Vec<&Value> = events.iter().filter(|event| event["event"] == "round").collect();
    assert_eq!(rounds.len(), 50, "{file}");
    for (round, (loss, accuracy)) in [1, 10, 50].into_iter().zip(cells) {
        let line = rounds[round - 1];
        let got = line["train"]["loss"].as_f64().unwrap();
        assert!((got - loss).abs() <= tolerance, "{file}, round {round}: loss {got}, the cell says {loss}");
        let got = line["central"]["accuracy"].as_f64().unwrap();
        // The cells have six digits.
        assert!((got - accuracy).abs() <= 5e-7, "{file}, round {round}: accuracy {got}, the cell says {accuracy}");
    }
    let got = events.last().unwrap()["norm"].as_f64().unwrap();
    // The cells have eight digits; in single precision the norm follows the loss.
    assert!((got - norm).abs() <= 100.0 * tolerance.max(1e-9) && (got - norm).abs() <= 0.01, "{file}: norm {got}");
}

const FEDAVG: [(f64, f64); 3] = [(2.063_781_29, 0.552_778), (1.039_706_19, 0.877_778), (0.369_334_44, 0.936_111)];

#[test]
fn fedsgd_is_central_gradient_descent() {
    let cells = [(2.203_090_50, 0.638_889), (1.529_546_88, 0.869_444), (0.624_350_01, 0.905_556)];
    check("golden-fedsgd.toml", &[], cells, 6.049_382_29, 1e-6);
}

#[test]
fn fedavg_ends_in_its_cells() {
    check("golden-fedavg.toml", &[], FEDAVG, 8.997_183_18, 1e-6);
}

#[test]
fn fedavg_in_single_precision_ends_near_them() {
    check("golden-fedavg.toml", &["--set", "model.dtype=f32"], FEDAVG, 8.997_183_18, 2e-3);
}

#[test]
fn server_momentum_ends_in_its_cells() {
    let cells = [(2.063_781_29, 0.552_778), (0.281_880_23, 0.9), (0.078_053_47, 0.963_889)];
    check("golden-fedavgm.toml", &[], cells, 26.450_622_41, 1e-6);
}

#[test]
fn nesterov_momentum_ends_in_its_cells() {
    let cells = [(1.991_301_24, 0.552_778), (0.352_610_16, 0.9), (0.099_975_29, 0.966_667)];
    check("golden-nesterov.toml", &[], cells, 21.539_146_49, 1e-6);
}
