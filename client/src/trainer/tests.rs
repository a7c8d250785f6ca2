//! Training as its callers see it: by hand, against differences, and what may go wrong.

use std::sync::Arc;

use tributary_common::id::{ClientId, Round, Seed};
use tributary_common::metrics::Metrics;
use tributary_common::model::initial;
use tributary_common::parameters::{AlignedBuffer, Parameters};
use tributary_common::rng::{self, Purpose};

use super::*;
use crate::data::{Features, Labels};
use crate::device::{Choice, Device};
use crate::plan::Plan;
use crate::plan::tests::plan;

/// The device that tests train on: as for `--device`, `TRIBUTARY_DEVICE` names it; the cores where it says nothing.
#[expect(clippy::disallowed_methods, reason = "a test is told from outside where to run")]
pub(super) fn device() -> Device {
    let choice = std::env::var("TRIBUTARY_DEVICE").map_or(Ok(Choice::Cpu), |name| name.parse());
    choice.and_then(Choice::open).unwrap_or_else(|error| panic!("TRIBUTARY_DEVICE: {error}"))
}

/// A trainer there.
pub(super) fn local(plan: Arc<Plan>) -> Local {
    Local::on(&device(), plan)
}

/// A plan, its trainer's model and examples.
pub(super) struct Problem {
    pub(super) plan: Arc<Plan>,
    pub(super) model: Parameters,
    features: Features,
    dataset: Dataset,
    indices: Vec<u32>,
    client: ClientId,
}

impl Problem {
    pub(super) fn new(text: &str, features: Vec<f32>, labels: Labels) -> Self {
        let plan = plan(text);
        let rows = features.len() / plan.input.values();
        let features = Features::Reals(features);
        let dataset = Dataset::new("test", &plan.input, features.clone(), labels, Vec::new()).unwrap();
        let model = initial::parameters(&plan.model, plan.seed);
        let indices = (0..u32::try_from(rows).unwrap()).collect();
        Self { plan: Arc::new(plan), model, features, dataset, indices, client: ClientId::simulated(3, 10) }
    }

    pub(super) fn task(&self) -> Task<'_> {
        Task { round: Round(5), client: &self.client, model: &self.model, examples: self.examples() }
    }

    fn examples(&self) -> Examples<'_> {
        Examples { dataset: &self.dataset, indices: &self.indices }
    }

    fn train(&self) -> Trained {
        local(Arc::clone(&self.plan)).train(&self.task(), &mut Unwatched).unwrap()
    }

    /// The model with `change` added to one value.
    pub(super) fn nudged(&self, at: usize, change: f64) -> Parameters {
        let mut buffer = AlignedBuffer::copy_of(self.model.bytes());
        let chunk = &mut buffer.as_mut()[at * 8..][..8];
        let value = f64::from_le_bytes(chunk.try_into().unwrap()) + change;
        chunk.copy_from_slice(&value.to_le_bytes());
        Parameters::new(self.model.layout().clone(), buffer.into_bytes()).unwrap()
    }
}

/// A coordinator's plan must not make a device allocate until it dies.
#[test]
fn a_batch_beyond_the_memory_limit_is_refused_before_anything_is_allocated() {
    // 64 planes of 2048 by 2048 in single precision, with gradients: 2 GiB an example.
    let text = "input = { shape = [1, 2048, 2048], classes = 2 }\nmodel.layers = [{ kind = 'conv2d', out = 64, kernel = 1 },\
        { kind = 'max_pool2d', size = 1024 }, 'flatten', { kind = 'linear', out = 2 }]\n\
        train = { loss = 'cross_entropy', optimizer = { kind = 'sgd', lr = 1 }, steps = 1, batch = 'all' }";
    let plan = Arc::new(plan(text));
    let features = Features::Bytes(vec![0; 9 << 22]);
    let dataset = Dataset::new("test", &plan.input, features, Labels::Classes(vec![0; 9]), Vec::new()).unwrap();
    let indices: Vec<u32> = (0..9).collect();
    let examples = Examples { dataset: &dataset, indices: &indices };
    let client = ClientId::simulated(0, 1);
    let model = Parameters::zeros(plan.model.layout.clone());
    let task = Task { round: Round(1), client: &client, model: &model, examples };
    let error = local(plan).train(&task, &mut Unwatched).unwrap_err();
    assert!(matches!(error, Error::TooLarge { batch: 9, .. }), "{error}");
}

/// What a convolution unfolds an example into is many times the example, and not there before its first step.
#[test]
fn a_kernel_beyond_the_memory_limit_is_refused_before_anything_is_allocated() {
    // 16 planes of 1024 by 1024, 481 by 481 windows of 64 by 64: 61 GB of columns, or half of it for each of two groups.
    for (kernel, groups, fits) in [(64, 1, false), (64, 2, false), (4, 1, true)] {
        let text = format!(
            "input = {{ shape = [16, 1024, 1024], classes = 2 }}\nmodel.layers = [{{ kind = 'conv2d', out = 2,\
             kernel = {kernel}, stride = 2, groups = {groups} }}, {{ kind = 'max_pool2d', size = 481 }}, 'flatten',\
             {{ kind = 'linear', out = 2 }}]\n\
             train = {{ loss = 'cross_entropy', optimizer = {{ kind = 'sgd', lr = 1 }}, steps = 1, batch = 1 }}"
        );
        let plan = Arc::new(plan(&text));
        assert_eq!(check_step(&plan, 1).is_ok(), fits, "kernel {kernel}");
        let dataset = Features::Bytes(vec![0; 16 << 20]);
        let dataset = Dataset::new("test", &plan.input, dataset, Labels::Classes(vec![0]), Vec::new()).unwrap();
        let (client, model) = (ClientId::simulated(0, 1), Parameters::zeros(plan.model.layout.clone()));
        let examples = Examples { dataset: &dataset, indices: &[0] };
        let mut trainer = local(plan);
        let trained =
            trainer.train(&Task { round: Round(1), client: &client, model: &model, examples }, &mut Unwatched);
        let measured = trainer.evaluate(&model, &examples, &mut Unwatched);
        for error in [trained.err(), measured.err()] {
            assert_eq!(error.is_none(), fits, "{error:?}");
            assert!(error.is_none_or(|error| matches!(error, Error::TooLarge { .. })));
        }
    }
}

/// Every constant that an optimiser has, alone and with others.
pub(super) const OPTIMIZERS: [&str; 4] = [
    "{ kind = 'sgd', lr = 0.05 }",
    "{ kind = 'sgd', lr = 0.05, weight_decay = 0.1 }",
    "{ kind = 'sgd', lr = 0.02, momentum = 0.9 }",
    "{ kind = 'sgd', lr = 0.02, momentum = 0.9, weight_decay = 0.1, nesterov = true }",
];

/// Three classes over images of six by six, seven of them: an odd last batch at 3.
pub(super) fn images(dtype: &str, train: &str) -> Problem {
    let text = format!(
        "run = {{ seed = 4 }}\ninput = {{ shape = [1, 6, 6], classes = 3 }}\nmodel = {{ dtype = '{dtype}', layers = [\
         {{ kind = 'conv2d', out = 4, kernel = 3, padding = 'same' }}, 'relu', {{ kind = 'max_pool2d', size = 2 }},\
         {{ kind = 'conv2d', out = 2, kernel = 2, groups = 2, bias = false }}, {{ kind = 'dropout', p = 0.3 }}, 'relu',\
         'flatten', {{ kind = 'linear', out = 5 }}, 'relu', {{ kind = 'dropout', p = 0.2 }},\
         {{ kind = 'linear', out = 3 }}] }}\ntrain = {{ loss = 'cross_entropy', {train} }}"
    );
    let mut stream = rng::stream(Seed(9), Round(0), None, Purpose::Faults);
    #[expect(clippy::cast_possible_truncation, reason = "any values serve")]
    let features = (0..7 * 36).map(|_| stream.normal() as f32).collect();
    Problem::new(&text, features, Labels::Classes(vec![0, 1, 2, 0, 1, 2, 0]))
}

/// The same images through normalisations and an average, each before and without a rectifier.
pub(super) fn normalised(dtype: &str, train: &str) -> Problem {
    let text = format!(
        "run = {{ seed = 4 }}\ninput = {{ shape = [1, 6, 6], classes = 3 }}\nmodel = {{ dtype = '{dtype}', layers = [\
         {{ kind = 'conv2d', out = 4, kernel = 3, bias = false }}, {{ kind = 'group_norm', groups = 2 }}, 'relu',\
         {{ kind = 'avg_pool2d', size = 3, stride = 1, padding = 1 }}, {{ kind = 'layer_norm', dims = 2, eps = 1e-3 }},\
         {{ kind = 'group_norm', groups = 4 }}, {{ kind = 'rms_norm', dims = 3 }}, 'flatten',\
         {{ kind = 'linear', out = 6 }}, {{ kind = 'rms_norm', eps = 0.01 }}, 'relu', {{ kind = 'linear', out = 6 }},\
         {{ kind = 'layer_norm' }}, 'relu', {{ kind = 'linear', out = 3 }}] }}\ntrain = {{ loss = 'cross_entropy', {train} }}"
    );
    let Features::Reals(features) = images(dtype, train).features else { panic!("images are of real numbers") };
    Problem::new(&text, features, Labels::Classes(vec![0, 1, 2, 0, 1, 2, 0]))
}

/// Drawn things before a constant background, no square, through windows that leave the last row or column out. Where the
/// background is, the pooled values are equal, and a gradient that each of them got would be too large.
pub(super) fn backgrounds(dtype: &str, train: &str) -> Problem {
    let text = format!(
        "run = {{ seed = 4 }}\ninput = {{ shape = [1, 7, 6], classes = 3 }}\nmodel = {{ dtype = '{dtype}', layers = [\
         {{ kind = 'conv2d', out = 3, kernel = 3, padding = 2 }}, {{ kind = 'max_pool2d', size = 3, stride = 2, padding = 1 }},\
         'relu', {{ kind = 'conv2d', out = 4, kernel = 2, stride = 2, padding = 1 }},\
         {{ kind = 'max_pool2d', size = 2, stride = 1 }}, 'relu', 'flatten', {{ kind = 'linear', out = 3 }}] }}\n\
         train = {{ loss = 'cross_entropy', {train} }}"
    );
    let mut features = vec![0.5; 7 * 42];
    for (example, image) in features.chunks_exact_mut(42).enumerate() {
        image[8 + example] = 2.0;
        image[20..22 + example % 3].fill(-1.0);
    }
    Problem::new(&text, features, Labels::Classes(vec![0, 1, 2, 0, 1, 2, 0]))
}

/// Three classes of sentences of four words, some of which come twice in one.
pub(super) fn sentences(dtype: &str, train: &str) -> Problem {
    let text = format!(
        "run = {{ seed = 4 }}\ninput = {{ shape = [4], classes = 3 }}\nmodel = {{ dtype = '{dtype}', layers = [\
         {{ kind = 'embedding', count = 6, out = 5 }}, 'relu', {{ kind = 'layer_norm' }}, 'flatten',\
         {{ kind = 'linear', out = 3 }}] }}\ntrain = {{ loss = 'cross_entropy', {train} }}"
    );
    let words = [[0, 1, 2, 1], [1, 4, 2, 2], [0, 0, 0, 0], [1, 0, 4, 2], [2, 4, 4, 1], [5, 2, 1, 0], [4, 2, 0, 1]];
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let features = words.as_flattened().iter().map(|&word| word as f32).collect();
    Problem::new(&text, features, Labels::Classes(vec![0, 1, 2, 0, 1, 2, 0]))
}

/// Numbers y = 2x + 1 to be found by one weight and one bias, which stand as bias, weight in the buffer.
pub(super) fn line(train: &str) -> Problem {
    let text = format!(
        "input = {{ shape = [1] }}\nmodel = {{ dtype = 'f64', init = 'zeros', layers = [{{ kind = 'linear', out = 1 }}] }}\n\
         train = {{ loss = 'mse', batch = 'all', {train} }}"
    );
    Problem::new(&text, vec![-1.0, 0.0, 1.0, 2.0], Labels::Targets(vec![-1.0, 1.0, 3.0, 5.0]))
}

fn assert_near(got: impl IntoIterator<Item = f64>, expected: &[f64], bound: f64) {
    let got: Vec<f64> = got.into_iter().collect();
    assert_eq!(got.len(), expected.len());
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= bound, "value {i}: {got} is not {expected} within {bound}");
    }
}

/// Zero weights give each class one half: the gradient of each logit is ∓1/6, and everything follows.
#[test]
fn one_full_batch_step_on_three_examples_by_hand() {
    for (dtype, bound) in [("f64", 1e-15), ("f32", 1e-7)] {
        let text = format!(
            "input = {{ shape = [2], classes = 2 }}\n[model]\ndtype = '{dtype}'\ninit = 'zeros'\n\
             layers = [{{ kind = 'linear', out = 2 }}]\n[train]\nloss = 'cross_entropy'\n\
             optimizer = {{ kind = 'sgd', lr = 1.0 }}\nsteps = 1\nbatch = 'all'"
        );
        let labels = Labels::Classes(vec![0, 1, 0]);
        let trained = Problem::new(&text, vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0], labels).train();
        let (sixth, third) = (1.0 / 6.0, 1.0 / 3.0);
        assert_near(trained.update.values(), &[sixth, -sixth, third, 0.0, -third, 0.0], bound);
        assert_eq!((trained.weight, trained.steps), (3, 1));
        let metrics = trained.metrics.unwrap();
        assert_near([metrics.loss(), metrics.accuracy().unwrap()], &[2_f64.ln(), 2.0 / 3.0], 1e-7);
    }
}

/// A step of rate 1 is the negative gradient; the loss of the same masks is what training reports.
#[test]
fn gradient_of_a_whole_network_agrees_with_differences() {
    const STEP: f64 = 2e-5;
    for problem in [images, normalised, sentences] {
        let problem = problem("f64", "optimizer = { kind = 'sgd', lr = 1.0 }, steps = 1, batch = 'all'");
        let mut trainer = local(Arc::clone(&problem.plan));
        let update: Vec<f64> = problem.train().update.values().collect();
        let mut loss = |model: &Parameters| {
            let trained = trainer.train(&Task { model, ..problem.task() }, &mut Unwatched).unwrap();
            trained.metrics.unwrap().loss()
        };
        for (at, got) in update.iter().enumerate() {
            let slope = (loss(&problem.nudged(at, STEP)) - loss(&problem.nudged(at, -STEP))) / (2.0 * STEP);
            // Losses come rounded to 2^-40, so their difference over 4e-5 is known to about 5e-8.
            assert!((got + slope).abs() < 1e-6, "value {at}: step {got}, slope {slope}");
        }
        assert!(update.iter().filter(|v| v.abs() > 1e-4).count() > update.len() / 2, "a dead network proves nothing");
    }
}

#[test]
fn momentum_decay_and_look_ahead_are_those_of_pytorch() {
    for (nesterov, name) in [(false, "false"), (true, "true")] {
        let optimizer = format!("{{ kind = 'sgd', lr = 0.1, momentum = 0.9, weight_decay = 0.05, nesterov = {name} }}");
        let trained = line(&format!("optimizer = {optimizer}, steps = 4")).train();
        let (mut w, mut v) = ([0.0_f64; 2], [0.0_f64; 2]);
        for _ in 0..4 {
            let mut gradient = [0.0; 2];
            for (x, y) in [(-1.0, -1.0), (0.0, 1.0), (1.0, 3.0), (2.0, 5.0)] {
                let error = w[0] + w[1] * x - y;
                gradient[0] += 2.0 * error / 4.0;
                gradient[1] += 2.0 * error * x / 4.0;
            }
            for i in 0..2 {
                let d = gradient[i] + 0.05 * w[i];
                v[i] = 0.9 * v[i] + d;
                w[i] -= 0.1 * if nesterov { d + 0.9 * v[i] } else { v[i] };
            }
        }
        assert_near(trained.update.values(), &w, 1e-13);
    }
}

#[test]
fn regression_finds_the_line_and_measures_its_error() {
    let problem = line("optimizer = { kind = 'sgd', lr = 0.2 }, epochs = 400");
    assert_near(problem.train().update.values(), &[1.0, 2.0], 1e-9);
    let mut trainer = local(Arc::clone(&problem.plan));
    let metrics = trainer.evaluate(&problem.model, &problem.examples(), &mut Unwatched).unwrap();
    // Zero weights predict 0: mean of 1, 1, 9, 25.
    assert_near([metrics.loss()], &[9.0], 1e-12);
    assert_eq!(metrics.n(), 4);
}

/// Without it two runs of one seed differ, and so do a simulation and a deployment.
#[test]
fn same_stream_gives_same_bytes_and_another_stream_others() {
    for dtype in ["f32", "f64"] {
        let problem = images(dtype, "optimizer = { kind = 'sgd', lr = 0.1 }, epochs = 2, batch = 3");
        let first = problem.train();
        let mut used = local(Arc::clone(&problem.plan));
        for _ in 0..2 {
            used.evaluate(&problem.model, &problem.examples(), &mut Unwatched).unwrap();
            let again = used.train(&problem.task(), &mut Unwatched).unwrap();
            assert_eq!(again.update, first.update);
            assert_eq!(again.metrics, first.metrics);
        }
        let other = used.train(&Task { round: Round(6), ..problem.task() }, &mut Unwatched).unwrap();
        assert_ne!(other.update, first.update);
        let client = ClientId::simulated(4, 10);
        let other = used.train(&Task { client: &client, ..problem.task() }, &mut Unwatched).unwrap();
        assert_ne!(other.update, first.update);
    }
}

#[test]
fn odd_last_batch_counts_and_weight_is_the_number_of_examples() {
    let trained = images("f32", "optimizer = { kind = 'sgd', lr = 0.1 }, epochs = 2, batch = 3").train();
    assert_eq!((trained.steps, trained.weight), (6, 7));
    assert_eq!(trained.metrics.unwrap().n(), 14);
}

#[test]
fn evaluation_does_not_depend_on_batches_and_drops_nothing() {
    let problem = images("f64", "optimizer = { kind = 'sgd', lr = 0.1 }, steps = 1, batch = 1");
    let mut trainer = local(Arc::clone(&problem.plan));
    let mut measure = |indices: &[u32]| {
        let examples = Examples { dataset: &problem.dataset, indices };
        trainer.evaluate(&problem.model, &examples, &mut Unwatched).unwrap()
    };
    let whole = measure(&problem.indices);
    let mut parts = measure(&problem.indices[..3]);
    parts.merge(&measure(&problem.indices[3..])).unwrap();
    assert_eq!(parts.n(), 7);
    assert_near([parts.loss()], &[whole.loss()], 1e-11);
    let (Metrics::Classification(whole), Metrics::Classification(parts)) = (whole, parts) else {
        panic!("classes were counted")
    };
    assert_eq!(whole.confusion(), parts.confusion());
}

/// Layers before the first affine map see a few examples at a time, and each must find its own.
#[test]
fn a_prediction_in_portions_is_that_of_every_example_alone() {
    // 32 planes of 126 by 126 doubles are 4 MB: a portion is one example.
    let text = "run = { seed = 4 }\ninput = { shape = [1, 128, 128], classes = 3 }\nmodel = { dtype = 'f64', layers = [\
        { kind = 'conv2d', out = 32, kernel = 3 }, 'relu', { kind = 'max_pool2d', size = 9 }, 'dropout', 'relu',\
        { kind = 'avg_pool2d', size = 7 }, 'flatten', 'relu', { kind = 'linear', out = 4 }, 'relu',\
        { kind = 'linear', out = 3 }] }\n\
        train = { loss = 'cross_entropy', optimizer = { kind = 'sgd', lr = 1 }, steps = 1, batch = 2 }";
    let mut stream = rng::stream(Seed(9), Round(0), None, Purpose::Faults);
    #[expect(clippy::cast_possible_truncation, reason = "any values serve")]
    let features = (0..5 * 128 * 128).map(|at| (stream.normal() * f64::from(at / (128 * 128) + 1)) as f32).collect();
    let problem = Problem::new(text, features, Labels::Classes(vec![0, 1, 2, 0, 1]));
    let mut trainer = local(Arc::clone(&problem.plan));
    let mut measure = |indices: &[u32]| {
        let examples = Examples { dataset: &problem.dataset, indices };
        trainer.evaluate(&problem.model, &examples, &mut Unwatched).unwrap()
    };
    let losses: Vec<f64> = (0..5).map(|index| measure(&[index]).loss()).collect();
    assert!(losses.windows(2).all(|pair| (pair[0] - pair[1]).abs() > 1e-3), "{losses:?}");
    let mean = losses.iter().sum::<f64>() / 5.0;
    assert_near([measure(&problem.indices).loss()], &[mean], 1e-11);
    // Training takes the batch as a whole, in the same buffers.
    let trained = trainer.train(&problem.task(), &mut Unwatched).unwrap();
    assert_eq!(trained.update, problem.train().update);
}

/// A small step costs little more than what allocates in it. Products of matrices are left out here: `gemm` takes a little
/// memory for each and gives it back, which is not ours to change.
#[test]
fn from_the_second_step_on_a_step_allocates_nothing() {
    for optimizer in OPTIMIZERS {
        let allocations = |steps: u64| {
            let text = format!(
                "run = {{ seed = 4 }}\ninput = {{ shape = [3, 6, 6], classes = 3 }}\nmodel.layers = [\
                 {{ kind = 'group_norm', groups = 3 }}, 'relu', {{ kind = 'max_pool2d', size = 3, stride = 1 }},\
                 {{ kind = 'dropout', p = 0.3 }}, {{ kind = 'layer_norm', dims = 2 }}, {{ kind = 'avg_pool2d', size = 4 }},\
                 'flatten', 'rms_norm']\ntrain = {{ loss = 'cross_entropy', optimizer = {optimizer}, steps = {steps}, batch = 3 }}"
            );
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let features = (0..7 * 108).map(|at| (at * 37 % 101) as f32).collect();
            let problem = Problem::new(&text, features, Labels::Classes(vec![0, 1, 2, 0, 1, 2, 0]));
            let mut trainer = Local::new(Arc::clone(&problem.plan));
            let task = problem.task();
            allocation_counter::measure(|| drop(trainer.train(&task, &mut Unwatched).unwrap())).count_total
        };
        assert_eq!(allocations(60), allocations(1), "{optimizer}");
    }
}

struct StopAt {
    at: u64,
    calls: Vec<(u64, u64)>,
}

impl Control for StopAt {
    fn step(&mut self, done: u64, total: u64) -> Flow {
        self.calls.push((done, total));
        if done == self.at { Flow::Stop } else { Flow::Continue }
    }
}

#[test]
fn a_stop_ends_the_work_at_the_next_batch_and_the_trainer_stays_usable() {
    let problem = images("f32", "optimizer = { kind = 'sgd', lr = 0.1, momentum = 0.9 }, epochs = 2, batch = 3");
    let mut trainer = local(Arc::clone(&problem.plan));
    let mut control = StopAt { at: 2, calls: Vec::new() };
    let error = trainer.train(&problem.task(), &mut control).unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error}");
    assert_eq!(control.calls, [(0, 6), (1, 6), (2, 6)]);
    let again = trainer.train(&problem.task(), &mut Unwatched).unwrap();
    assert_eq!(again.update, problem.train().update);
    let mut control = StopAt { at: 0, calls: Vec::new() };
    let error = trainer.evaluate(&problem.model, &problem.examples(), &mut control).unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error}");
}

#[test]
fn training_that_diverges_sends_nothing() {
    let problem = images("f32", "optimizer = { kind = 'sgd', lr = 1e30 }, steps = 50, batch = 3");
    let error = local(Arc::clone(&problem.plan)).train(&problem.task(), &mut Unwatched).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    assert!(error.hint().unwrap().contains("learning rate"));
}

/// The loss looks at weights before the last step; its result must be looked at too.
#[test]
fn divergence_in_the_last_step_names_the_tensor() {
    let problem = line("optimizer = { kind = 'sgd', lr = 1e38 }, steps = 8");
    let error = local(Arc::clone(&problem.plan)).train(&problem.task(), &mut Unwatched).unwrap_err();
    assert!(error.to_string().contains("is not finite in step"), "{error}");
}

/// An index beyond the table would stop the process; the data set has looked at all of them only if it was asked to.
#[test]
fn examples_whose_indices_nobody_checked_are_refused() {
    let problem = sentences("f32", "optimizer = { kind = 'sgd', lr = 0.1 }, steps = 1, batch = 3");
    let mut input = problem.plan.input.clone();
    input.indices_below = None;
    let features = Features::Reals(vec![0.0, 1.0, 2.0, 6.0]);
    let dataset = Dataset::new("test", &input, features, Labels::Classes(vec![0]), Vec::new()).unwrap();
    let examples = Examples { dataset: &dataset, indices: &[0] };
    let mut trainer = local(Arc::clone(&problem.plan));
    let error = trainer.train(&Task { examples, ..problem.task() }, &mut Unwatched).unwrap_err();
    assert!(matches!(error, Error::ExamplesDiffer(_)), "{error}");
    let error = trainer.evaluate(&problem.model, &examples, &mut Unwatched).unwrap_err();
    assert!(matches!(error, Error::ExamplesDiffer(_)), "{error}");
}

#[test]
fn what_does_not_fit_the_plan_is_refused() {
    let problem = images("f32", "optimizer = { kind = 'sgd', lr = 0.1 }, steps = 1, batch = 3");
    let other = line("optimizer = { kind = 'sgd', lr = 0.1 }, steps = 1");
    let mut trainer = local(Arc::clone(&problem.plan));
    let mut refused = |task: Task<'_>| trainer.train(&task, &mut Unwatched).unwrap_err();
    let empty = Examples { indices: &[], ..problem.examples() };
    assert!(matches!(refused(Task { examples: empty, ..problem.task() }), Error::NoExamples));
    assert!(matches!(refused(Task { model: &other.model, ..problem.task() }), Error::ModelDiffers(_)));
    let error = refused(Task { examples: other.examples(), ..problem.task() });
    assert!(error.to_string().contains("[1] in 0 classes came, [1, 6, 6] in 3 classes are needed"), "{error}");
}
