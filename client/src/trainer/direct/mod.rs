//! The list of layers, run by kernels over buffers that stay from step to step: no graph, no allocation but what `gemm`
//! takes for the length of a product, and plain descent in the same pass as the gradient.

mod network;

use tributary_common::parameters::{AlignedBuffer, Parameters};
use tributary_common::rng::Stream;
use tributary_kernels::sgd;

use self::network::{Network, Rule};
use super::tally::Tally;
use super::{Error, Execution};
use crate::data::Dataset;
use crate::layer::{Element, Learn};
use crate::loss::{Loss, Truth};
use crate::optimizer::{Optimizer, Sgd};
use crate::plan::Plan;

/// A network with its parameters and the state of its optimiser, all in the packed order of the layout.
pub(super) struct Direct<T> {
    network: Network<T>,
    loss: Loss,
    sgd: Sgd,
    outputs: usize,
    weights: Vec<T>,
    /// Not touched, and so never resident, where every layer steps without storing its gradient.
    gradient: Vec<T>,
    /// Empty without momentum.
    velocity: Vec<T>,
    truth: Truth<T>,
}

impl<T: Element> Direct<T> {
    pub(super) fn new(plan: &Plan) -> Self {
        let Optimizer::Sgd(sgd) = plan.train.optimizer;
        let zeros = || vec![T::ZERO; plan.model.layout.count()];
        let velocity = if sgd.momentum::<T>().is_some() { zeros() } else { Vec::new() };
        Self {
            network: Network::new(&plan.model),
            loss: plan.train.loss,
            sgd,
            outputs: plan.model.outputs(),
            weights: zeros(),
            gradient: zeros(),
            velocity,
            truth: Truth::none(),
        }
    }

    /// Examples of a batch that is predicted best, and the bytes that it takes between the layers.
    pub(super) fn prediction(&self) -> (usize, usize) {
        self.network.prediction()
    }

    /// Runs the network forward and returns the sum of the losses; with `dropout` as in training, ready to go backward.
    fn forward(&mut self, dataset: &Dataset, indices: &[u32], dropout: Option<&mut Stream>) -> f64 {
        let rule = if dropout.is_some() { Rule::Train } else { Rule::Predict };
        self.truth.gather(dataset, indices);
        T::gather(dataset, indices, self.network.input(indices.len(), rule));
        self.network.forward(&self.weights, dropout);
        let (predicted, gradient) = self.network.output(rule);
        self.loss.score(self.outputs, predicted, &self.truth, gradient)
    }
}

impl<T: Element> Execution for Direct<T> {
    fn begin(&mut self, model: &Parameters) -> Result<(), Error> {
        T::read(model.bytes(), &mut self.weights);
        self.velocity.fill(T::ZERO);
        Ok(())
    }

    fn learn(
        &mut self,
        dataset: &Dataset,
        indices: &[u32],
        dropout: &mut Stream,
        tally: Option<&mut Tally>,
    ) -> Result<f64, Error> {
        let loss = self.forward(dataset, indices, Some(dropout));
        if let Some(tally) = tally {
            tally.add(self.network.output(Rule::Predict).0, &self.truth, loss)?;
        }
        let (step, momentum) = (self.sgd.step(), self.sgd.momentum());
        let learn = Learn {
            weights: &mut self.weights,
            gradient: &mut self.gradient,
            step: momentum.is_none().then_some(step),
        };
        self.network.backward(learn);
        if let Some(momentum) = momentum {
            sgd::update_with_momentum(step, momentum, &mut self.weights, &self.gradient, &mut self.velocity);
        }
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 2^32 examples")]
        let mean = loss / indices.len() as f64;
        Ok(mean)
    }

    fn predict(&mut self, dataset: &Dataset, indices: &[u32], tally: &mut Tally) -> Result<(), Error> {
        let loss = self.forward(dataset, indices, None);
        tally.add(self.network.output(Rule::Predict).0, &self.truth, loss)?;
        Ok(())
    }

    fn update(&self, model: &Parameters) -> Result<(Parameters, bool), Error> {
        let mut buffer = AlignedBuffer::zeroed(model.bytes().len());
        let is_finite = T::write_difference(&self.weights, model.bytes(), buffer.as_mut());
        let update = Parameters::new(model.layout().clone(), buffer.into_bytes());
        Ok((update.expect("the buffer was made for the layout"), is_finite))
    }
}
