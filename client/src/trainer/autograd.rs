//! The same network as candle tensors with automatic gradients: the reference that `direct` is held against, and the way
//! to other devices. Parameters are an ordered list of our own, because candle's own set has a random order.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var, WithDType};
use tributary_common::parameters::{AlignedBuffer, Parameters};
use tributary_common::rng::Stream;
use tributary_kernels::relu::Activation;

use super::descent::{Descent, complete};
use super::portion::{Portion, explain};
use super::tally::Tally;
use super::{Error, Execution};
use crate::data::Dataset;
use crate::device::Device;
use crate::layer::{Element, Graph, Learned, Masks, Place};
use crate::loss::Truth;
use crate::optimizer::Optimizer;
use crate::plan::Plan;

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Execution(error.to_string())
    }
}

/// A network as a graph that every step builds anew.
pub(super) struct Autograd<T> {
    plan: Arc<Plan>,
    device: Device,
    /// What one example takes between the layers, in bytes.
    example_bytes: usize,
    /// In the packed order of the layout.
    parameters: Vec<Learned>,
    descent: Descent,
    /// Of the last batch as a whole.
    truth: Truth<T>,
    /// Examples that go through the network at once.
    portion: Portion,
}

/// What a pass over a batch yields: the outputs, the mean loss, and in training the mean's gradients, none for a parameter
/// that gets none.
struct Passed<T> {
    predicted: Vec<T>,
    mean: f64,
    gradients: Vec<Option<Tensor>>,
}

impl<T: Element + WithDType> Autograd<T> {
    pub(super) fn new(plan: Arc<Plan>, device: Device, example_bytes: usize) -> Self {
        let Optimizer::Sgd(sgd) = plan.train.optimizer;
        let (descent, truth, portion) = (Descent::new(sgd), Truth::none(), Portion::unlimited());
        Self { plan, device, example_bytes, parameters: Vec::new(), descent, truth, portion }
    }

    /// Outputs and mean loss of these examples as tensors.
    fn forward(&self, dataset: &Dataset, indices: &[u32], masks: Option<&Masks>) -> Result<[Tensor; 2]> {
        let model = &self.plan.model;
        let mut truth = Truth::<T>::none();
        truth.gather(dataset, indices);
        let mut values = vec![T::zero(); indices.len() * dataset.values()];
        T::gather(dataset, indices, &mut values);
        let shape = [&[indices.len()], dataset.shape()].concat();
        let mut x = Tensor::from_vec(values, shape, self.device.tensors())?;
        let graph = Graph { parameters: &self.parameters, masks };
        for index in 0..model.layers.len() {
            x = Place { model, index, activation: Activation::Identity }.graph(&x, &graph)?;
        }
        let loss = self.plan.train.loss.graph(&x, &truth)?;
        Ok([x, loss])
    }

    /// A whole batch in portions of `size` examples; in training with `masks`. The portions' gradients add up to the
    /// batch's, so that their size changes nothing but rounding.
    fn pass(&self, dataset: &Dataset, indices: &[u32], masks: Option<&Masks>, size: usize) -> Result<Passed<T>> {
        let mut passed = Passed { predicted: Vec::new(), mean: 0.0, gradients: Vec::new() };
        for (number, portion) in indices.chunks(size).enumerate() {
            let masks = masks.map(|masks| masks.narrow(number * size, portion.len())).transpose()?;
            let [predicted, loss] = self.forward(dataset, portion, masks.as_ref())?;
            #[expect(clippy::cast_precision_loss, reason = "a batch has at most 2^32 examples")]
            let share = portion.len() as f64 / indices.len() as f64;
            let mean: f64 = loss.to_dtype(candle_core::DType::F64)?.to_scalar()?;
            passed.mean += share * mean;
            passed.predicted.extend(predicted.flatten_all()?.to_vec1::<T>()?);
            if masks.is_some() {
                let store = loss.affine(share, 0.0)?.backward()?;
                let own = self.parameters.iter().map(|learned| store.get(learned.var.as_tensor()).cloned());
                passed.gradients = if number == 0 { own.collect() } else { sum(&passed.gradients, own)? };
            }
        }
        Ok(passed)
    }

    /// What a failure means to the user.
    fn explain(&self, error: candle_core::Error) -> Error {
        // Parameters, their gradients, the velocity and what takes their place.
        let needed = self.example_bytes.saturating_add(self.plan.model.layout.bytes().saturating_mul(4));
        explain(error, &self.device, needed)
    }

    /// [`Autograd::pass`] in portions that the device's memory holds.
    fn fit(
        &mut self,
        dataset: &Dataset,
        indices: &[u32],
        masks: Option<&Masks>,
    ) -> std::result::Result<Passed<T>, Error> {
        self.truth.gather(dataset, indices);
        let mut portion = self.portion;
        let passed = portion.fit(indices.len(), |size| self.pass(dataset, indices, masks, size));
        self.portion = portion;
        passed.map_err(|error| self.explain(error))
    }

    fn count(&self, passed: &Passed<T>, tally: &mut Tally, batch: usize) -> std::result::Result<(), Error> {
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 2^32 examples")]
        let sum = passed.mean * batch as f64;
        Ok(tally.add(&passed.predicted, &self.truth, sum)?)
    }
}

impl<T: Element + WithDType> Execution for Autograd<T> {
    fn begin(&mut self, model: &Parameters) -> std::result::Result<(), Error> {
        self.descent.begin();
        self.parameters.clear();
        for tensor in model.layout().tensors() {
            let mut values = vec![T::zero(); tensor.count()];
            T::read(model.tensor(tensor), &mut values);
            let var = Var::from_tensor(&Tensor::from_vec(values, tensor.shape.as_slice(), self.device.tensors())?)?;
            self.parameters.push(Learned { name: tensor.name.clone(), var });
        }
        Ok(())
    }

    fn learn(
        &mut self,
        dataset: &Dataset,
        indices: &[u32],
        dropout: &mut Stream,
        tally: Option<&mut Tally>,
    ) -> std::result::Result<f64, Error> {
        // Drawn for the whole batch, so that the masks do not depend on portions.
        let masks = Masks::draw::<T>(&self.plan.model, &mut [(dropout, indices.len())], indices.len(), &self.device)?;
        let passed = self.fit(dataset, indices, Some(&masks))?;
        if let Some(tally) = tally {
            self.count(&passed, tally, indices.len())?;
        }
        let gradients = complete(&self.parameters, passed.gradients)?;
        self.descent.step(&self.parameters, &gradients).map_err(|error| self.explain(error))?;
        Ok(passed.mean)
    }

    fn predict(&mut self, dataset: &Dataset, indices: &[u32], tally: &mut Tally) -> std::result::Result<(), Error> {
        let passed = self.fit(dataset, indices, None)?;
        self.count(&passed, tally, indices.len())
    }

    fn update(&self, model: &Parameters) -> std::result::Result<(Parameters, bool), Error> {
        let mut buffer = AlignedBuffer::zeroed(model.bytes().len());
        let mut is_finite = true;
        for (tensor, learned) in model.layout().tensors().iter().zip(&self.parameters) {
            let after: Vec<T> = learned.var.as_tensor().flatten_all()?.to_vec1()?;
            let out = &mut buffer.as_mut()[tensor.range()];
            is_finite &= T::write_difference(&after, model.tensor(tensor), out);
        }
        let update = Parameters::new(model.layout().clone(), buffer.into_bytes());
        Ok((update.expect("the buffer was made for the layout"), is_finite))
    }
}

/// Adds the gradients of another portion, parameter by parameter.
fn sum(all: &[Option<Tensor>], more: impl Iterator<Item = Option<Tensor>>) -> Result<Vec<Option<Tensor>>> {
    let pairs = all.iter().zip(more);
    pairs.map(|(a, b)| a.as_ref().zip(b).map(|(a, b)| a + b).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::id::Round;
    use tributary_common::rng::{self, Purpose};

    use crate::trainer::tests::{OPTIMIZERS, Problem, backgrounds, device, images, normalised, sentences};
    use crate::trainer::{Local, Trainer, Unwatched};

    fn both(problem: &Problem, bound: f64) {
        let run = |mut trainer: Local| {
            let trained = trainer.train(&problem.task(), &mut Unwatched).unwrap();
            let measured = trainer.evaluate(&problem.model, &problem.task().examples, &mut Unwatched).unwrap();
            (trained, measured)
        };
        let (direct, measured) = run(Local::new(Arc::clone(&problem.plan)));
        // On another device than the cores, this is what the kernels are held against.
        let device = device();
        let by_graph = if device.is_cpu() {
            Local::with_autograd(Arc::clone(&problem.plan))
        } else {
            Local::on(&device, Arc::clone(&problem.plan))
        };
        let (reference, expected) = run(by_graph);
        for (index, (got, expected)) in direct.update.values().zip(reference.update.values()).enumerate() {
            assert!((got - expected).abs() <= bound, "value {index}: {got} is not {expected} within {bound}");
        }
        assert_eq!((direct.weight, direct.steps), (reference.weight, reference.steps));
        for (got, expected) in [(direct.metrics.unwrap(), reference.metrics.unwrap()), (measured, expected)] {
            assert_eq!((got.n(), got.accuracy()), (expected.n(), expected.accuracy()));
            // Losses come rounded to 2^-40.
            assert!((got.loss() - expected.loss()).abs() <= bound.max(1e-11), "{} {}", got.loss(), expected.loss());
        }
        assert!(direct.update.norm() > 1e-3, "no training proves nothing");
    }

    /// Two executions that drift apart would give two models for one seed.
    #[test]
    fn direct_execution_equals_automatic_gradients() {
        for optimizer in OPTIMIZERS {
            let train = format!("optimizer = {optimizer}, epochs = 3, batch = 3");
            // Nine steps: rounding of one value is 2^-53 or 2^-24 of about one, and sums over up to 108 products.
            both(&images("f64", &train), 1e-13);
            both(&images("f32", &train), 2e-6);
            both(&backgrounds("f64", &train), 1e-13);
            both(&backgrounds("f32", &train), 2e-6);
            both(&sentences("f64", &train), 1e-13);
            both(&sentences("f32", &train), 2e-6);
            // Six normalisations one after the other multiply what rounding leaves.
            both(&normalised("f64", &train), 1e-12);
            both(&normalised("f32", &train), 2e-5);
        }
    }

    #[test]
    fn direct_execution_equals_automatic_gradients_in_regression() {
        both(&crate::trainer::tests::line("optimizer = { kind = 'sgd', lr = 0.1 }, steps = 5"), 1e-13);
    }

    fn dropout(problem: &Problem) -> Stream {
        rng::stream(problem.plan.seed, Round(1), None, Purpose::Dropout)
    }

    /// A device that is short of memory takes a batch in portions; what it learns must be what another learns.
    #[test]
    fn a_batch_in_portions_gives_the_same_step_and_the_same_measures() {
        let train = "optimizer = { kind = 'sgd', lr = 0.1, momentum = 0.9 }, steps = 1, batch = 'all'";
        for problem in [images("f64", train), normalised("f64", train), sentences("f64", train)] {
            let learned = |portion: Portion| {
                let mut autograd = Autograd::<f64>::new(Arc::clone(&problem.plan), device(), 1);
                autograd.portion = portion;
                autograd.begin(&problem.model).unwrap();
                let (mut dropout, mut tally) = (dropout(&problem), Tally::new(&problem.plan.input).unwrap());
                let examples = problem.task().examples;
                for _ in 0..2 {
                    autograd.learn(examples.dataset, examples.indices, &mut dropout, Some(&mut tally)).unwrap();
                }
                autograd.predict(examples.dataset, examples.indices, &mut tally).unwrap();
                (autograd.update(&problem.model).unwrap().0, tally.into_metrics())
            };
            let (whole, measured) = learned(Portion::unlimited());
            assert!(whole.norm() > 1e-3, "no training proves nothing");
            for size in [1, 3] {
                let (update, metrics) = learned(Portion::at_most(size));
                let apart = update.values().zip(whole.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                // Two steps of f64, whose sums are added in another order.
                assert!(apart < 1e-13, "portions of {size}: {apart} apart");
                assert_eq!((metrics.n(), metrics.accuracy()), (measured.n(), measured.accuracy()));
                assert!((metrics.loss() - measured.loss()).abs() < 1e-11);
            }
        }
    }

    /// Some operators of the library silently drop gradients; training would go on with dead layers.
    #[test]
    fn a_parameter_without_gradient_is_an_error() {
        let problem = images("f64", "optimizer = { kind = 'sgd', lr = 0.1 }, steps = 1, batch = 3");
        let mut autograd = Autograd::<f64>::new(Arc::clone(&problem.plan), device(), 1);
        autograd.begin(&problem.model).unwrap();
        let var = Var::from_tensor(&Tensor::zeros(2, candle_core::DType::F64, device().tensors()).unwrap()).unwrap();
        autograd.parameters.push(Learned { name: "11.weight".to_owned(), var });
        let mut dropout = dropout(&problem);
        let error = autograd.learn(problem.task().examples.dataset, &[0, 1], &mut dropout, None).unwrap_err();
        assert!(matches!(&error, Error::NoGradient { tensor } if tensor == "11.weight"), "{error}");
    }
}
