//! Federated averaging without randomness, where every number is known: the trainer against independently computed cells.

use std::path::Path;
use std::sync::Arc;

use tributary_common::config::Document;
use tributary_common::id::{ClientId, Round, Seed};
use tributary_common::model::initial;
use tributary_common::parameters::{AlignedBuffer, Parameters};

use super::tests::local;
use super::{Examples, Local, Task, Trainer, Unwatched};
use crate::data::{Dataset, Source, TestRows};
use crate::partition::{self, Parts, Rows};
use crate::plan::tests::plan;

/// Softmax regression on ten clients with two shards of the digits each.
struct Federation {
    trainer: Local,
    train: Dataset,
    test: Dataset,
    parts: Parts,
    model: Parameters,
}

impl Federation {
    fn new(dtype: &str, steps: u64) -> Self {
        let plan = plan(&format!(
            "run = {{ seed = 1 }}\ninput = {{ shape = [64], divide = 16, classes = 10 }}\n\
             model = {{ dtype = '{dtype}', init = 'zeros', layers = [{{ kind = 'linear', out = 10 }}] }}\n\
             [train]\nloss = 'cross_entropy'\noptimizer = {{ kind = 'sgd', lr = 0.5 }}\nsteps = {steps}\nbatch = 'all'"
        ));
        let loaded = Source::parse("digits").unwrap().load(Path::new(""), &plan.input, None).unwrap();
        let (train, test) = loaded.split(TestRows::Every(5)).unwrap();
        let rule = "rule = { kind = 'shards', clients = 10, per_client = 2, assign = 'stride' }";
        let rule = Document::parse("rule.toml", rule).unwrap().table().required("rule").unwrap();
        let parts = partition::deal(&*partition::parse(rule).unwrap(), &Rows::of(&train), Seed(1)).unwrap();
        let model = initial::parameters(&plan.model, plan.seed);
        Self { trainer: local(Arc::new(plan)), train, test: test.unwrap(), parts, model }
    }

    /// w ← w + Σ n_k Δ_k / Σ n_k, added in double precision and rounded once.
    fn round(&mut self, round: u64) {
        let mut weights: Vec<f64> = self.model.values().collect();
        for (k, indices) in self.parts.iter().enumerate() {
            let client = ClientId::simulated(k, 10);
            let examples = Examples { dataset: &self.train, indices };
            let task = Task { round: Round(round), client: &client, model: &self.model, examples };
            let trained = self.trainer.train(&task, &mut Unwatched).unwrap();
            let share = f64::from(u32::try_from(trained.weight).unwrap()) / 1437.0;
            weights.iter_mut().zip(trained.update.values()).for_each(|(w, delta)| *w += share * delta);
        }
        let layout = self.model.layout().clone();
        let dtype = layout.tensors()[0].dtype;
        let mut buffer = AlignedBuffer::zeroed(layout.bytes());
        buffer.as_mut().chunks_exact_mut(dtype.size()).zip(weights).for_each(|(chunk, w)| dtype.write(w, chunk));
        self.model = Parameters::new(layout, buffer.into_bytes()).unwrap();
    }

    /// Loss over the training rows, accuracy over the test rows.
    fn measure(&mut self) -> (f64, f64) {
        let Self { trainer, train, test, model, .. } = self;
        let mut of = |dataset: &Dataset| {
            let indices: Vec<u32> = (0..u32::try_from(dataset.len()).unwrap()).collect();
            trainer.evaluate(model, &Examples { dataset, indices: &indices }, &mut Unwatched).unwrap()
        };
        (of(train).loss(), of(test).accuracy().unwrap())
    }
}

fn check(dtype: &str, steps: u64, cells: [(u64, f64, f64); 3], norm: f64) {
    // Within 1e-6 in double and 2e-3 in single precision; cells of accuracy have six digits.
    let (bound, accuracy_bound) = if dtype == "f64" { (1e-6, 5e-7) } else { (2e-3, 3e-3) };
    let mut federation = Federation::new(dtype, steps);
    for round in 1..=50 {
        federation.round(round);
        let Some((_, loss, accuracy)) = cells.iter().find(|(at, ..)| *at == round) else { continue };
        let (got_loss, got_accuracy) = federation.measure();
        assert!((got_loss - loss).abs() <= bound, "{dtype}, round {round}: loss {got_loss} against {loss}");
        assert!((got_accuracy - accuracy).abs() <= accuracy_bound, "{dtype}, round {round}: accuracy {got_accuracy}");
    }
    assert!((federation.model.norm() - norm).abs() <= bound, "{dtype}: norm {}", federation.model.norm());
}

#[test]
fn one_full_batch_step_a_round_is_central_gradient_descent() {
    let cells = [(1, 2.203_090_50, 0.638_889), (10, 1.529_546_88, 0.869_444), (50, 0.624_350_01, 0.905_556)];
    check("f64", 1, cells, 6.049_382_29);
    check("f32", 1, cells, 6.049_382_29);
}

#[test]
fn five_full_batch_steps_a_round_are_federated_averaging() {
    let cells = [(1, 2.063_781_29, 0.552_778), (10, 1.039_706_19, 0.877_778), (50, 0.369_334_44, 0.936_111)];
    check("f64", 5, cells, 8.997_183_18);
    check("f32", 5, cells, 8.997_183_18);
}
