//! A stack against clients that train alone.

use std::sync::Arc;

use tributary_common::id::ClientId;
use tributary_common::parameters::Parameters;

use crate::trainer::tests::{OPTIMIZERS, Problem, backgrounds, device, images, line, local, normalised, sentences};
use crate::trainer::{Control, Error, Examples, Flow, Local, Task, Trained, Trainer, Unwatched};

/// Which of a problem's examples each client has: as many as there are batches, a single one, and some in between.
const PARTS: [&[u32]; 5] = [&[3, 1, 2], &[6], &[0, 1, 2, 3, 4, 5, 6], &[5, 0], &[6, 5, 4, 3, 2]];

/// The same with the four examples of a line.
const POINTS: [&[u32]; 4] = [&[1], &[3], &[0, 1, 2, 3], &[0, 2]];

fn train(
    trainer: &mut dyn Trainer,
    problem: &Problem,
    models: &[&Parameters],
    parts: &[&[u32]],
) -> Vec<Result<Trained, Error>> {
    let names: Vec<_> = (0..parts.len()).map(|k| ClientId::simulated(k, 10)).collect();
    let tasks: Vec<_> = parts
        .iter()
        .enumerate()
        .map(|(k, indices)| Task {
            client: &names[k],
            model: models[k % models.len()],
            examples: Examples { indices, ..problem.task().examples },
            ..problem.task()
        })
        .collect();
    trainer.train_all(&tasks, &mut Unwatched)
}

fn stacked(problem: &Problem, clients: usize) -> Local {
    Local::stacked(&device(), Arc::clone(&problem.plan), clients)
}

/// Trains `parts` alone and in stacks, and holds what comes of each client within `bound`.
fn check(problem: &Problem, models: &[&Parameters], parts: &[&[u32]], bound: f64) {
    let alone = train(&mut local(Arc::clone(&problem.plan)), problem, models, parts);
    for clients in [parts.len(), 2] {
        let together = train(&mut stacked(problem, clients), problem, models, parts);
        assert_eq!(together.len(), alone.len());
        for (k, (got, expected)) in together.iter().zip(&alone).enumerate() {
            let (got, expected) = match (got, expected) {
                (Ok(got), Ok(expected)) => (got, expected),
                (Err(got), Err(expected)) => {
                    assert_eq!(got.to_string(), expected.to_string(), "client {k}");
                    continue;
                }
                _ => panic!("client {k}: {got:?} is not {expected:?}"),
            };
            assert!(expected.update.norm() > 1e-3, "no training proves nothing");
            for (at, (got, expected)) in got.update.values().zip(expected.update.values()).enumerate() {
                assert!(
                    (got - expected).abs() <= bound * expected.abs().max(1.0),
                    "client {k}, value {at}: {got}, alone {expected}"
                );
            }
            assert_eq!((got.weight, got.steps), (expected.weight, expected.steps));
            let (got, expected) = (got.metrics.as_ref().unwrap(), expected.metrics.as_ref().unwrap());
            assert_eq!((got.n(), got.accuracy()), (expected.n(), expected.accuracy()));
            // Losses come rounded to 2^-40.
            let bound = bound.max(1e-11) * expected.loss().max(1.0);
            assert!((got.loss() - expected.loss()).abs() <= bound, "client {k}: {got:?}, {expected:?}");
        }
    }
}

/// Every layer, every constant of the optimiser, clients of all lengths: who is in a stack must not matter.
#[test]
fn clients_in_a_stack_end_as_each_does_alone() {
    for optimizer in OPTIMIZERS {
        let train = format!("optimizer = {optimizer}, epochs = 3, batch = 3");
        // Bounds as between the executions of one client: rounding of sums in another order, over nine steps.
        for (dtype, near, nearly) in [("f64", 1e-12, 1e-12), ("f32", 2e-6, 2e-5)] {
            let problems = [images, backgrounds, sentences, normalised].map(|problem| problem(dtype, &train));
            for (problem, bound) in problems.iter().zip([near, near, near, nearly]) {
                check(problem, &[&problem.model], &PARTS, bound);
            }
        }
    }
}

#[test]
fn clients_may_take_so_many_steps_all_examples_at_once_or_begin_with_models_of_their_own() {
    for length in ["steps = 4, batch = 2", "epochs = 3, batch = 'all'", "steps = 70, batch = 5"] {
        let problem = images("f64", &format!("optimizer = {{ kind = 'sgd', lr = 0.05 }}, {length}"));
        let other = problem.nudged(3, 0.5);
        check(&problem, &[&problem.model, &other], &PARTS, 1e-12);
    }
}

#[test]
fn regression_in_a_stack_is_that_of_each_client() {
    let problem = line("optimizer = { kind = 'sgd', lr = 0.1, momentum = 0.5 }, steps = 6");
    check(&problem, &[&problem.model], &POINTS, 1e-12);
}

/// Where a client's loss or its last parameters overflow, it fails as it does alone, and nobody with it.
#[test]
fn who_diverges_names_its_step_and_takes_nobody_along() {
    // On x = 2 alone a step multiplies the error by −4, and its square leaves the range after some 256 steps; the others converge.
    let problem = line("optimizer = { kind = 'sgd', lr = 0.5 }, steps = 300");
    let ended = train(&mut stacked(&problem, 4), &problem, &[&problem.model], &POINTS);
    assert!(matches!(ended[1], Err(Error::NonFinite { step: 250..262, .. })), "{:?}", ended[1]);
    assert!(ended.iter().enumerate().all(|(k, end)| end.is_ok() == (k != 1)), "{ended:?}");
    check(&problem, &[&problem.model], &POINTS, 1e-12);
    let problem = images("f32", "optimizer = { kind = 'sgd', lr = 1e20, weight_decay = 1e30 }, steps = 1, batch = 3");
    let ended = train(&mut stacked(&problem, 5), &problem, &[&problem.model], &PARTS);
    assert!(ended.iter().all(|end| matches!(end, Err(error) if error.to_string().contains("tensor `"))), "{ended:?}");
    check(&problem, &[&problem.model], &PARTS, 0.0);
    // All of them, long before the last step.
    let problem = line("optimizer = { kind = 'sgd', lr = 1e38 }, steps = 1000");
    check(&problem, &[&problem.model], &POINTS, 1e-12);
}

#[test]
fn what_is_wrong_with_one_task_is_no_other_ones_matter() {
    let problem = images("f64", "optimizer = { kind = 'sgd', lr = 0.1 }, epochs = 1, batch = 3");
    let parts = [PARTS[0], &[], PARTS[1]];
    let ended = train(&mut stacked(&problem, 3), &problem, &[&problem.model], &parts);
    assert!(matches!(ended[1], Err(Error::NoExamples)) && ended[0].is_ok() && ended[2].is_ok(), "{ended:?}");
    let other = line("optimizer = { kind = 'sgd', lr = 0.1 }, steps = 1");
    let ended = train(&mut stacked(&problem, 3), &problem, &[&problem.model, &other.model], &PARTS[..3]);
    assert!(matches!(ended[1], Err(Error::ModelDiffers(_))) && ended[0].is_ok() && ended[2].is_ok(), "{ended:?}");
}

struct StopAt(u64);

impl Control for StopAt {
    fn step(&mut self, done: u64, _: u64) -> Flow {
        if done == self.0 { Flow::Stop } else { Flow::Continue }
    }
}

#[test]
fn a_stop_ends_the_work_of_all_and_the_trainer_stays_usable() {
    let problem = images("f32", "optimizer = { kind = 'sgd', lr = 0.1, momentum = 0.9 }, epochs = 2, batch = 3");
    let mut trainer = stacked(&problem, 4);
    let tasks = vec![problem.task(); 3];
    let before = trainer.train_all(&tasks, &mut Unwatched);
    let stopped = trainer.train_all(&tasks, &mut StopAt(2));
    assert!(stopped.len() == 3 && stopped.iter().all(|end| matches!(end, Err(Error::Stopped))), "{stopped:?}");
    let again = trainer.train_all(&tasks, &mut Unwatched);
    for (before, again) in before.into_iter().zip(again) {
        assert_eq!(before.unwrap().update, again.unwrap().update);
    }
}
