//! Golden runs and equality of worker counts, over the digits that are built in.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tributary_client::device::{Choice, Device};
use tributary_client::plan::Plan;
use tributary_client::supply::Supply;
use tributary_client::trainer::{Local, Trainer};
use tributary_common::config::Document;
use tributary_common::event::{Event, RoundLine};
use tributary_common::id::RunId;
use tributary_coordinator::store::Memory;

use crate::{Run, simulate};

const GOLDEN: &str = "
run = { name = 'golden', seed = 1, rounds = ROUNDS }
cohort = { size = 'all', wait_for = 10, quorum = QUORUM, deadline = 60 }
input = { shape = [64], divide = 16, classes = 10 }
data = { source = 'digits', test = { every = 5 }, partition = { kind = 'shards', clients = 10, per_client = 2, assign = 'stride' } }
model = { dtype = 'DTYPE', init = 'zeros', layers = [{ kind = 'linear', out = 10 }] }
train = { loss = 'cross_entropy', optimizer = { kind = 'sgd', lr = 0.5 }, steps = STEPS, batch = 'all' }
aggregate = AGGREGATE
server = { optimizer = SERVER }
evaluate = { every = 1, on = ['train', 'central'] }
sim = SIM
";

/// The device that tests train on: as for `--device`, `TRIBUTARY_DEVICE` names it; the cores where it says nothing.
#[expect(clippy::disallowed_methods, reason = "a test is told from outside where to run")]
fn device() -> Device {
    let choice = std::env::var("TRIBUTARY_DEVICE").map_or(Ok(Choice::Cpu), |name| name.parse());
    choice.and_then(Choice::open).unwrap_or_else(|error| panic!("TRIBUTARY_DEVICE: {error}"))
}

struct Case<'a> {
    rounds: &'a str,
    steps: &'a str,
    dtype: &'a str,
    server: &'a str,
    sim: &'a str,
    quorum: &'a str,
    aggregate: &'a str,
}

const FEDAVG: Case<'_> = Case {
    rounds: "10",
    steps: "5",
    dtype: "f64",
    server: "{ kind = 'sgd', lr = 1.0 }",
    sim: "{ }",
    quorum: "10",
    aggregate: "{ rule = 'mean', weights = 'examples' }",
};

fn run(case: &Case<'_>, workers: usize) -> Vec<RoundLine> {
    run_with(case, workers, 1)
}

/// The same with so many clients trained at once.
fn run_with(case: &Case<'_>, workers: usize, clients: usize) -> Vec<RoundLine> {
    let text = GOLDEN
        .replace("ROUNDS", case.rounds)
        .replace("STEPS", case.steps)
        .replace("DTYPE", case.dtype)
        .replace("SERVER", case.server)
        .replace("SIM", case.sim)
        .replace("QUORUM", case.quorum)
        .replace("AGGREGATE", case.aggregate);
    let document = Document::parse("golden.toml", &text).unwrap();
    let plan = Plan::parse(&document).unwrap();
    let supply = Supply::parse(document.table().section("data").unwrap(), PathBuf::new()).unwrap();
    let dealt = supply.load(&plan.input, plan.seed).unwrap();
    let run = Run::new(RunId([0; 16]), &document, dealt.into(), Arc::new(Memory)).unwrap();
    let device = device();
    let trainer = || Box::new(Local::stacked(&device, Arc::clone(&run.plan), clients)) as Box<dyn Trainer>;
    let trainers = (0..workers).map(|_| trainer()).collect();
    let mut lines = Vec::new();
    simulate(run, trainers, &AtomicBool::new(false), &|| Duration::ZERO, &mut |event| {
        if let Event::Round(line) = event {
            lines.push(line.clone());
        }
    })
    .unwrap();
    lines
}

fn check(case: &Case<'_>, round: usize, loss: f64, accuracy: f64, tolerance: f64) {
    let lines = run(case, 1);
    let line = &lines[round - 1];
    let got = line.train.as_ref().unwrap().loss.unwrap();
    assert!((got - loss).abs() <= tolerance, "loss {got} against {loss}");
    let got = line.central.as_ref().unwrap().accuracy.unwrap();
    assert!((got - accuracy).abs() < 1e-6, "accuracy {got} against {accuracy}");
}

/// The cells of rounds 1 and 10; those of round 50 are checked through the command.
#[test]
fn golden_runs_end_in_their_cells() {
    check(&FEDAVG, 1, 2.063_781_29, 0.552_778, 1e-6);
    check(&FEDAVG, 10, 1.039_706_19, 0.877_778, 1e-6);
    check(&Case { steps: "1", ..FEDAVG }, 10, 1.529_546_88, 0.869_444, 1e-6);
    check(&Case { server: "{ kind = 'sgd', lr = 1.0, momentum = 0.9 }", ..FEDAVG }, 10, 0.281_880_23, 0.9, 1e-6);
    let nesterov = Case { server: "{ kind = 'sgd', lr = 0.7, momentum = 0.9, nesterov = true }", ..FEDAVG };
    check(&nesterov, 10, 0.352_610_16, 0.9, 1e-6);
    check(&Case { dtype: "f32", ..FEDAVG }, 10, 1.039_706_19, 0.877_778, 2e-3);
}

/// What of the rounds must not depend on threads and networks: the models, who made them, and what was measured on them.
fn digests(lines: &[RoundLine]) -> Vec<String> {
    let shown = |line: &RoundLine| format!("{} of {}: {:?} {:?}", line.model, line.clients, line.train, line.central);
    lines.iter().map(shown).collect()
}

#[test]
fn the_number_of_workers_and_the_pace_of_the_network_change_no_bit() {
    let one = digests(&run(&FEDAVG, 1));
    assert_eq!(one.len(), 10);
    assert_eq!(digests(&run(&FEDAVG, 3)), one);
    let slow = Case { sim: "{ latency = 0.05, bandwidth = 1e5, loss = 0.1, seconds_per_step = 0.2 }", ..FEDAVG };
    assert_eq!(digests(&run(&slow, 2)), one);
}

#[test]
fn clients_that_vanish_leave_rounds_that_are_the_same_for_every_number_of_workers() {
    let case = Case { sim: "{ drop_out = 0.2 }", quorum: "3", ..FEDAVG };
    let lines = run(&case, 1);
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().any(|line| line.clients < 10), "nobody vanished");
    assert_eq!(digests(&run(&case, 2)), digests(&lines));
}

/// A rule that looks at all updates sees them in the order of names, however they arrive.
#[test]
fn a_rule_over_all_updates_does_not_depend_on_their_arrival() {
    let median = Case { aggregate: "{ rule = 'median' }", ..FEDAVG };
    let one = digests(&run(&median, 1));
    assert_ne!(one, digests(&run(&FEDAVG, 1)), "the median is not the mean");
    let slow = Case { sim: "{ latency = 0.05, bandwidth = 1e5, loss = 0.1, seconds_per_step = 0.2 }", ..median };
    assert_eq!(digests(&run(&slow, 2)), one);
}

/// Updates of clients that are trained together depend on each other in their last bits; the run must not depend on threads.
#[test]
fn clients_trained_at_once_give_the_golden_run_and_the_same_bits_for_every_number_of_workers() {
    for case in
        [FEDAVG, Case { sim: "{ drop_out = 0.2, latency = 0.05, seconds_per_step = 0.2 }", quorum: "3", ..FEDAVG }]
    {
        let alone = run(&case, 1);
        let lines = run_with(&case, 1, 4);
        for workers in [2, 3] {
            assert_eq!(digests(&run_with(&case, workers, 4)), digests(&lines));
        }
        for (got, expected) in lines.iter().zip(&alone) {
            assert_eq!((got.clients, &got.central), (expected.clients, &expected.central));
            let loss = |line: &RoundLine| line.train.as_ref().unwrap().loss.unwrap();
            assert!((loss(got) - loss(expected)).abs() < 1e-9, "{} is not {}", loss(got), loss(expected));
        }
    }
}
