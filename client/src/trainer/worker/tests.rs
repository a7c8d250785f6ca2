//! The worker as the agent sees it, on the built-in digits.

use std::path::PathBuf;

use tributary_common::id::Seed;
use tributary_common::model::initial;

use super::*;
use crate::data::TestRows;
use crate::partition;

const PLAN: &str = "
run = { seed = 3 }
input = { shape = [64], divide = 16, classes = 10 }
model = { init = 'zeros', layers = [{ kind = 'linear', out = 10 }] }
train = { loss = 'cross_entropy', optimizer = { kind = 'sgd', lr = 0.5 }, steps = 3, batch = 20 }
evaluate = { on = ['train', 'local', 'central'] }
";

struct Always;

impl Watch for Always {
    fn goes_on(&mut self, _: u64, _: u64) -> bool {
        true
    }
}

struct Never;

impl Watch for Never {
    fn goes_on(&mut self, _: u64, _: u64) -> bool {
        false
    }
}

fn digits(share: Share) -> Holdings {
    Holdings::Source { source: "digits".to_owned(), base: PathBuf::new(), test: TestRows::Every(5), share }
}

fn part(client: usize) -> Share {
    let text = "rule = { kind = 'shards', clients = 10, per_client = 2, assign = 'stride' }";
    let item = Document::parse("x.toml", text).unwrap().table().required("rule").unwrap();
    Share::Part { rule: partition::parse(item).unwrap(), client }
}

fn worker(role: Role, share: Share, holdout: Option<f64>) -> LocalWorker {
    LocalWorker::new(ClientId::simulated(1, 10), role, digits(share), holdout)
}

fn model() -> Parameters {
    let plan = Plan::parse(&Document::parse("plan", PLAN).unwrap()).unwrap();
    initial::parameters(&plan.model, Seed(3))
}

#[test]
fn a_client_trains_on_its_part_and_measures_on_what_it_holds_out() {
    let mut worker = worker(Role::Client, part(1), Some(0.25));
    let prepared = worker.prepare(PLAN).unwrap();
    // The second of the documented shard sizes is 144.
    assert_eq!(prepared.ready, Ready { examples: 108, holdout: 36 });
    let model = model();
    assert_eq!(prepared.layout.digest(), model.layout().digest());
    let update = worker.train(Round(1), &model, &mut Always).unwrap();
    assert_eq!(update.weight, 108);
    assert!(update.update.norm() > 0.0);
    let results = worker.evaluate(&model, &mut Always).unwrap();
    assert_eq!((results.train.unwrap().n(), results.local.unwrap().n(), results.central), (108, 36, None));
}

#[test]
fn the_plan_says_what_is_held_out_where_the_client_does_not() {
    let mut worker = worker(Role::Client, part(1), None);
    let ready = worker.prepare(&format!("{PLAN}data = {{ holdout = 0.5 }}")).unwrap().ready;
    assert_eq!(ready, Ready { examples: 72, holdout: 72 });
    assert_eq!(worker.prepare(PLAN).unwrap().ready, Ready { examples: 144, holdout: 0 });
    let results = worker.evaluate(&model(), &mut Always).unwrap();
    assert!(results.train.is_some() && results.local.is_none(), "nothing held out is nothing to measure on");
}

#[test]
fn an_evaluator_measures_on_all_it_has() {
    let mut worker = worker(Role::Evaluator, Share::Test, Some(0.25));
    assert_eq!(worker.prepare(PLAN).unwrap().ready, Ready { examples: 0, holdout: 360 });
    let results = worker.evaluate(&model(), &mut Always).unwrap();
    assert_eq!((results.train, results.local, results.central.unwrap().n()), (None, None, 360));
    assert!(worker.train(Round(1), &model(), &mut Always).unwrap_err().contains("there is no example"));
}

#[test]
fn what_the_plan_does_not_ask_for_is_not_measured() {
    let mut worker = worker(Role::Client, part(1), Some(0.25));
    worker.prepare(&PLAN.replace("'train', 'local', ", "")).unwrap();
    assert_eq!(worker.evaluate(&model(), &mut Always).unwrap(), Results::default());
}

/// The name is part of the key of the order of examples; the process that trains is not.
#[test]
fn the_update_is_the_same_in_another_process_and_sealed() {
    let train = |plan: &str| {
        let mut worker = worker(Role::Client, part(4), Some(0.1));
        worker.prepare(plan).unwrap();
        worker.train(Round(7), &model(), &mut Always).unwrap().update
    };
    assert_eq!(train(PLAN), train(PLAN));
    let clipped = train(&format!("{PLAN}stages = [{{ kind = 'clip', norm = 0.125 }}]"));
    assert!(train(PLAN).norm() > 0.2 && (clipped.norm() - 0.125).abs() < 1e-6, "{}", clipped.norm());
}

#[test]
fn examples_in_memory_serve_as_well() {
    let plan = Plan::parse(&Document::parse("plan", PLAN).unwrap()).unwrap();
    let (data, _) = digits(Share::Train).load(&plan).unwrap();
    let of = |rows: Vec<u32>| {
        let holdings = Holdings::Loaded { data: Arc::clone(&data), rows };
        LocalWorker::new(ClientId::simulated(0, 1), Role::Client, holdings, None)
            .prepare(PLAN)
            .map(|p| p.ready.examples)
    };
    assert_eq!(of(vec![3, 5, 8]), Ok(3));
    assert!(of(Vec::new()).unwrap_err().contains("there is no example"));
    assert!(of(vec![1437]).unwrap_err().contains("could not use row 1437"));
}

#[test]
fn cancelled_work_ends_with_its_reason() {
    let mut worker = worker(Role::Client, part(1), None);
    worker.prepare(PLAN).unwrap();
    assert!(worker.train(Round(1), &model(), &mut Never).unwrap_err().contains("stopped"));
    assert!(worker.evaluate(&model(), &mut Never).unwrap_err().contains("stopped"));
}

#[test]
fn what_cannot_be_prepared_says_why_and_leaves_nothing_behind() {
    let mut client = worker(Role::Client, part(1), None);
    client.prepare(PLAN).unwrap();
    let error = client.prepare(&PLAN.replace("'sgd'", "'sdg'")).unwrap_err();
    assert!(error.contains("unknown optimizer `sdg`") && error.contains("did you mean `sgd`"), "{error}");
    assert!(client.train(Round(1), &model(), &mut Always).unwrap_err().contains("no plan was prepared"));
    let error = client.prepare(&PLAN.replace("[64]", "[63]")).unwrap_err();
    assert!(error.contains("an example has 64 values"), "{error}");
    for (mut worker, problem) in [
        (worker(Role::Client, part(10), None), "part 10 of 10"),
        (worker(Role::Client, part(1), Some(1.0)), "not from 0 to 0.9"),
        (worker(Role::Client, part(1), Some(f64::NAN)), "not from 0 to 0.9"),
        (worker(Role::Coordinator, part(1), None), "a coordinator has no examples"),
    ] {
        let error = worker.prepare(PLAN).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}
