//! The same network as candle tensors with automatic gradients: the reference that `direct` is held against, and the way
//! to other devices. Parameters are an ordered list of our own, because candle's own set has a random order.

use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var, WithDType};
use tributary_common::parameters::{AlignedBuffer, Parameters};
use tributary_common::rng::Stream;
use tributary_kernels::relu::Activation;

use super::tally::Tally;
use super::{Error, Execution};
use crate::data::Dataset;
use crate::layer::{Element, Graph, Learned, Place};
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
    /// In the packed order of the layout.
    parameters: Vec<Learned>,
    /// One each, or none before the first step with momentum.
    velocity: Vec<Tensor>,
    truth: Truth<T>,
}

/// What a forward pass yields: the outputs, as a tensor and as numbers, and the mean loss.
struct Passed<T> {
    predicted: Vec<T>,
    loss: Tensor,
    mean: f64,
}

impl<T: Element + WithDType> Autograd<T> {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let truth = Truth { classes: Vec::new(), targets: Vec::new() };
        Self { plan, device: Device::Cpu, parameters: Vec::new(), velocity: Vec::new(), truth }
    }

    fn forward(&mut self, dataset: &Dataset, indices: &[u32], dropout: Option<&mut Stream>) -> Result<Passed<T>> {
        let model = &self.plan.model;
        self.truth.gather(dataset, indices);
        let mut values = vec![T::zero(); indices.len() * dataset.values()];
        T::gather(dataset, indices, &mut values);
        let shape = [&[indices.len()], dataset.shape()].concat();
        let mut x = Tensor::from_vec(values, shape, &self.device)?;
        let mut graph = Graph { parameters: &self.parameters, dropout };
        for index in 0..model.layers.len() {
            x = Place { model, index, activation: Activation::Identity }.graph(&x, &mut graph)?;
        }
        let loss = self.plan.train.loss.graph(&x, &self.truth)?;
        let mean = loss.to_dtype(candle_core::DType::F64)?.to_scalar()?;
        Ok(Passed { predicted: x.flatten_all()?.to_vec1()?, loss, mean })
    }

    /// One step along `gradients`, with `PyTorch`'s meaning of the constants.
    fn descend(&mut self, gradients: &GradStore) -> std::result::Result<(), Error> {
        let Optimizer::Sgd(sgd) = self.plan.train.optimizer;
        let is_first = self.velocity.is_empty();
        for (index, learned) in self.parameters.iter().enumerate() {
            let w = learned.var.as_tensor();
            let gradient = gradients.get(w).ok_or_else(|| Error::NoGradient { tensor: learned.name.clone() })?;
            let d = (gradient + w.affine(sgd.weight_decay, 0.0)?)?;
            let direction = if sgd.momentum > 0.0 {
                let v = if is_first { d.clone() } else { (self.velocity[index].affine(sgd.momentum, 0.0)? + &d)? };
                if is_first {
                    self.velocity.push(v.detach());
                } else {
                    self.velocity[index] = v.detach();
                }
                if sgd.nesterov { (d + v.affine(sgd.momentum, 0.0)?)? } else { v }
            } else {
                d
            };
            learned.var.set(&(w - direction.affine(sgd.lr, 0.0)?)?.detach())?;
        }
        Ok(())
    }

    fn count(&self, passed: &Passed<T>, tally: &mut Tally, batch: usize) -> std::result::Result<(), Error> {
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 2^32 examples")]
        let sum = passed.mean * batch as f64;
        Ok(tally.add(&passed.predicted, &self.truth, sum)?)
    }
}

impl<T: Element + WithDType> Execution for Autograd<T> {
    fn begin(&mut self, model: &Parameters) -> std::result::Result<(), Error> {
        self.velocity.clear();
        self.parameters.clear();
        for tensor in model.layout().tensors() {
            let mut values = vec![T::zero(); tensor.count()];
            T::read(model.tensor(tensor), &mut values);
            let var = Var::from_tensor(&Tensor::from_vec(values, tensor.shape.as_slice(), &self.device)?)?;
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
        let passed = self.forward(dataset, indices, Some(dropout))?;
        if let Some(tally) = tally {
            self.count(&passed, tally, indices.len())?;
        }
        self.descend(&passed.loss.backward()?)?;
        Ok(passed.mean)
    }

    fn predict(&mut self, dataset: &Dataset, indices: &[u32], tally: &mut Tally) -> std::result::Result<(), Error> {
        let passed = self.forward(dataset, indices, None)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::tests::{Problem, images, normalised, sentences};
    use crate::trainer::{Local, Trainer, Unwatched};

    fn both(problem: &Problem, bound: f64) {
        let run = |mut trainer: Local| {
            let trained = trainer.train(&problem.task(), &mut Unwatched).unwrap();
            let measured = trainer.evaluate(&problem.model, &problem.task().examples, &mut Unwatched).unwrap();
            (trained, measured)
        };
        let (direct, measured) = run(Local::new(Arc::clone(&problem.plan)));
        let (reference, expected) = run(Local::with_autograd(Arc::clone(&problem.plan)));
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
        for optimizer in [
            "{ kind = 'sgd', lr = 0.05 }",
            "{ kind = 'sgd', lr = 0.05, weight_decay = 0.1 }",
            "{ kind = 'sgd', lr = 0.02, momentum = 0.9 }",
            "{ kind = 'sgd', lr = 0.02, momentum = 0.9, weight_decay = 0.1, nesterov = true }",
        ] {
            let train = format!("optimizer = {optimizer}, epochs = 3, batch = 3");
            // Nine steps: rounding of one value is 2^-53 or 2^-24 of about one, and sums over up to 108 products.
            both(&images("f64", &train), 1e-13);
            both(&images("f32", &train), 2e-6);
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

    /// Some operators of the library silently drop gradients; training would go on with dead layers.
    #[test]
    fn a_parameter_without_gradient_is_an_error() {
        let problem = images("f64", "optimizer = { kind = 'sgd', lr = 0.1 }, steps = 1, batch = 3");
        let mut autograd = Autograd::<f64>::new(Arc::clone(&problem.plan));
        autograd.begin(&problem.model).unwrap();
        let var = Var::from_tensor(&Tensor::zeros(2, candle_core::DType::F64, &Device::Cpu).unwrap()).unwrap();
        autograd.parameters.push(Learned { name: "11.weight".to_owned(), var });
        let mut stream = tributary_common::rng::stream(
            problem.plan.seed,
            tributary_common::id::Round(1),
            None,
            tributary_common::rng::Purpose::Dropout,
        );
        let error = autograd.learn(problem.task().examples.dataset, &[0, 1], &mut stream, None).unwrap_err();
        assert!(matches!(&error, Error::NoGradient { tensor } if tensor == "11.weight"), "{error}");
    }
}
