//! Several clients at once, their models stacked: every parameter has one more dimension in front, that of the clients, and
//! one order to the device serves all of them.
//!
//! Clients are sorted by their number of steps, the longest first, so that those at work are the first of the stack; who
//! is done leaves it, and the others go on in a smaller one. Batches of one step are as long as the longest of them: a shorter
//! one is filled with its first example, which has no share in its client's loss. What a client's steps see, and what its
//! dropout draws, is what it would alone; so is the result, up to rounding. Clients never meet in one number, so that one that
//! diverges stops itself alone.
//!
//! It computes on whatever device candle's tensors live: the tests run on the cores what a CUDA device runs.

mod member;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::sync::Arc;

use candle_core::{Result, Tensor, Var, WithDType};
use tributary_common::model::Model;
use tributary_common::parameters::{AlignedBuffer, Parameters};
use tributary_common::rng::Stream;
use tributary_kernels::relu::Activation;

use self::member::Member;
use super::descent::{Descent, complete};
use super::local::proceed;
use super::memory::{batch, columns, example_bytes};
use super::portion::explain;
use super::{Control, Error, Task, Trained};
use crate::device::Device;
use crate::layer::{Element, Graph, Learned, Masks, Place, Stacked};
use crate::loss::Truth;
use crate::optimizer::Optimizer;
use crate::plan::Plan;

/// The most clients of a stack.
pub const CLIENTS_MAX: usize = 256;

/// Steps whose predictions stay on the device before they are read all at once: reading waits for the device, which has
/// nothing to do until the next step is there.
const UNREAD_MAX: usize = 64;

/// Trains tasks at once. Between calls nothing is kept but what the layers need.
pub(super) trait Together: Send {
    /// What comes of each task, in their order.
    ///
    /// # Errors
    /// What ends the work of all of them.
    fn train(
        &mut self,
        tasks: &[Task<'_>],
        control: &mut dyn Control,
    ) -> std::result::Result<Vec<std::result::Result<Trained, Error>>, Error>;
}

/// Bytes that `tasks` take at once, about: examples, and for each client its batch between the layers, its parameters,
/// their gradients, the velocity and what takes their place.
pub(super) fn bytes(plan: &Plan, tasks: &[Task<'_>]) -> usize {
    let longest = tasks.iter().map(|task| task.examples.indices.len()).max().unwrap_or_default();
    let examples = tasks.iter().fold(0, |all: usize, task| all.saturating_add(task.examples.indices.len()));
    let batch = batch(plan, longest);
    let example = example_bytes(plan).saturating_add(unfolded(&plan.model).saturating_mul(plan.model.dtype.size()));
    let client = example.saturating_mul(batch).saturating_add(plan.model.layout.bytes().saturating_mul(5));
    let values = plan.input.values().saturating_mul(plan.model.dtype.size());
    client.saturating_mul(tasks.len()).saturating_add(examples.saturating_mul(values))
}

/// Values that convolutions add for one example: columns and a copy of the weights, each with its gradient.
fn unfolded(model: &Model) -> usize {
    let of = |index| {
        let (columns, groups) = columns(model, index)?;
        let own = model.parameters.iter().filter(|parameter| parameter.name == format!("{index}.weight"));
        let weights: usize = own.map(|parameter| parameter.shape.iter().product::<usize>()).sum();
        Some(columns.saturating_mul(groups).saturating_add(weights).saturating_mul(2))
    };
    (0..model.layers.len()).filter_map(of).fold(0, usize::saturating_add)
}

/// A step that was taken and not yet read.
struct Taken<T> {
    /// Counted from 1.
    number: u64,
    /// `[clients, batch, outputs]`.
    predicted: Tensor,
    /// One for each client.
    truths: Vec<Truth<T>>,
}

/// The models of the clients at work.
pub(super) struct Stack<T> {
    plan: Arc<Plan>,
    device: Device,
    /// One for each of the model's, once there was something to train.
    layers: Vec<Stacked>,
    /// In the packed order of the layout, each `[clients, …]`.
    parameters: Vec<Learned>,
    descent: Descent,
    /// How many clients are at work.
    clients: usize,
    taken: Vec<Taken<T>>,
}

impl<T: Element + WithDType> Stack<T> {
    pub(super) fn new(plan: Arc<Plan>, device: Device) -> Self {
        let Optimizer::Sgd(sgd) = plan.train.optimizer;
        let (layers, parameters, taken) = (Vec::new(), Vec::new(), Vec::new());
        Self { plan, device, layers, parameters, descent: Descent::new(sgd), clients: 0, taken }
    }

    /// Stacks the models, which are mostly one and the same: it travels to the device once.
    fn begin(&mut self, members: &[Member<'_>]) -> Result<()> {
        let (model, device) = (&self.plan.model, &self.device);
        if self.layers.is_empty() {
            let place = |index| Place { model, index, activation: Activation::Identity };
            self.layers = (0..model.layers.len()).map(|index| place(index).stack(device)).collect::<Result<_>>()?;
        }
        self.descent.begin();
        self.taken.clear();
        self.parameters.clear();
        self.clients = members.len();
        for tensor in model.layout.tensors() {
            let mut own: Vec<Tensor> = Vec::with_capacity(members.len());
            let mut before: Option<&[u8]> = None;
            for member in members {
                let bytes = member.task.model.tensor(tensor);
                match (own.last(), before) {
                    (Some(last), Some(before)) if std::ptr::eq(before, bytes) => own.push(last.clone()),
                    _ => {
                        let mut values = vec![T::zero(); tensor.count()];
                        T::read(bytes, &mut values);
                        own.push(Tensor::from_vec(values, tensor.shape.as_slice(), device.tensors())?);
                    }
                }
                before = Some(bytes);
            }
            let var = Var::from_tensor(&Tensor::stack(&own, 0)?)?;
            self.parameters.push(Learned { name: tensor.name.clone(), var });
        }
        Ok(())
    }

    /// The examples of all clients, one after the other.
    fn load(&self, members: &[Member<'_>]) -> Result<Tensor> {
        let size = self.plan.input.values();
        let count: usize = members.iter().map(|member| member.task.examples.indices.len()).sum();
        let mut values = vec![T::zero(); count * size];
        let mut rest = values.as_mut_slice();
        for member in members {
            let examples = member.task.examples;
            let (own, others) = rest.split_at_mut(examples.indices.len() * size);
            T::gather(examples.dataset, examples.indices, own);
            rest = others;
        }
        Tensor::from_vec(values, (count, size), self.device.tensors())
    }

    /// What step `number` of all clients that are at work yields: a gradient for each parameter that has one.
    fn gradients(&mut self, members: &mut [Member<'_>], examples: &Tensor, number: u64) -> Result<Vec<Option<Tensor>>> {
        let model = &self.plan.model;
        let (batches, truths): (Vec<Vec<u32>>, Vec<_>) = members.iter_mut().map(Member::next::<T>).unzip();
        let longest = batches.iter().map(Vec::len).max().unwrap_or_default();
        let mut places = Vec::with_capacity(batches.len() * longest);
        for batch in &batches {
            places.extend_from_slice(batch);
            places.extend(std::iter::repeat_n(batch[0], longest - batch.len()));
        }
        let mut streams: Vec<(&mut Stream, usize)> =
            members.iter_mut().zip(&batches).map(|(member, batch)| (&mut member.dropout, batch.len())).collect();
        let masks = Masks::draw::<T>(model, &mut streams, longest, &self.device)?;
        let places = Tensor::new(places, self.device.tensors())?;
        let shape = [&[batches.len(), longest], self.plan.input.shape.as_slice()].concat();
        let mut x = examples.index_select(&places, 0)?.reshape(shape)?;
        let graph = Graph { parameters: &self.parameters, masks: Some(&masks) };
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer(&Place { model, index, activation: Activation::Identity }, &x, &graph)?;
        }
        let predicted = x.detach();
        let slope = self.plan.train.loss.slope(&predicted, &truths)?.detach();
        // The derivative of Σ x · slope with respect to x is the slope: automatic gradients begin where the loss ends.
        let store = (x * slope)?.sum_all()?.backward()?;
        self.taken.push(Taken { number, predicted, truths });
        Ok(self.parameters.iter().map(|learned| store.get(learned.var.as_tensor()).cloned()).collect())
    }

    /// Reads what was predicted in the steps taken and counts it.
    fn read(&mut self, members: &mut [Member<'_>]) -> Result<()> {
        let flat = self.taken.iter().map(|taken| taken.predicted.flatten_all()).collect::<Result<Vec<_>>>()?;
        if flat.is_empty() {
            return Ok(());
        }
        let values = Tensor::cat(&flat, 0)?.to_vec1::<T>()?;
        let mut rest = values.as_slice();
        for Taken { number, predicted, truths } in self.taken.drain(..) {
            let (_, batch, outputs) = predicted.dims3()?;
            for (member, truth) in members.iter_mut().zip(&truths) {
                let own;
                (own, rest) = rest.split_at(batch * outputs);
                member.count(&self.plan, number, &own[..truth.count() * outputs], truth);
            }
        }
        Ok(())
    }

    /// Takes the clients from `first` on out of the stack: how their training ended.
    fn leave(&mut self, members: &mut [Member<'_>], first: usize) -> Result<Vec<std::result::Result<Trained, Error>>> {
        if first == self.clients {
            return Ok(Vec::new());
        }
        self.read(members)?;
        let leaving = &mut members[first..self.clients];
        let mut buffers: Vec<_> =
            leaving.iter().map(|member| AlignedBuffer::zeroed(member.task.model.bytes().len())).collect();
        for (tensor, learned) in self.plan.model.layout.tensors().iter().zip(&mut self.parameters) {
            let whole = learned.var.as_tensor().detach();
            let after = whole.narrow(0, first, leaving.len())?.flatten_all()?.to_vec1::<T>()?;
            for ((member, buffer), after) in leaving.iter().zip(&mut buffers).zip(after.chunks(tensor.count())) {
                let out = &mut buffer.as_mut()[tensor.range()];
                T::write_difference(after, member.task.model.tensor(tensor), out);
            }
            if first > 0 {
                learned.var = Var::from_tensor(&whole.narrow(0, 0, first)?)?;
            }
        }
        self.descent.narrow(first)?;
        self.clients = first;
        let layout = &self.plan.model.layout;
        let update = |buffer: AlignedBuffer| Parameters::new(Arc::clone(layout), buffer.into_bytes());
        let updates = buffers.into_iter().map(|buffer| update(buffer).expect("the buffer was made for the layout"));
        Ok(leaving.iter_mut().zip(updates).map(|(member, update)| member.end(update)).collect())
    }
}

impl<T: Element + WithDType> Together for Stack<T> {
    fn train(
        &mut self,
        tasks: &[Task<'_>],
        control: &mut dyn Control,
    ) -> std::result::Result<Vec<std::result::Result<Trained, Error>>, Error> {
        let (plan, device) = (Arc::clone(&self.plan), self.device.clone());
        let failed = |error| explain(error, &device, bytes(&plan, tasks));
        let mut longest_first: Vec<(usize, &Task<'_>)> = tasks.iter().enumerate().collect();
        longest_first.sort_by_key(|(_, task)| Reverse(task.examples.indices.len()));
        let mut start = 0;
        let mut members = Vec::with_capacity(tasks.len());
        for (index, task) in longest_first {
            members.push(Member::new(&plan, (index, task), start));
            start += u32::try_from(task.examples.indices.len()).expect("examples are counted by numbers of 32 bits");
        }
        let examples = self.load(&members).map_err(failed)?;
        self.begin(&members).map_err(failed)?;
        let steps = members.first().map_or(0, Member::steps);
        let mut ended = Vec::with_capacity(tasks.len());
        for done in 0..=steps {
            proceed(control, done, steps)?;
            let at_work = members.partition_point(|member| member.steps() > done);
            let leaving = self.leave(&mut members, at_work).map_err(failed)?;
            ended.splice(0..0, leaving);
            if at_work == 0 {
                break;
            }
            let gradients = self.gradients(&mut members[..at_work], &examples, done + 1).map_err(failed)?;
            let gradients = complete(&self.parameters, gradients)?;
            self.descent.step(&self.parameters, &gradients).map_err(failed)?;
            if self.taken.len() >= UNREAD_MAX {
                self.read(&mut members).map_err(failed)?;
                if members[..at_work].iter().all(Member::has_failed) {
                    ended.splice(0..0, self.leave(&mut members, 0).map_err(failed)?);
                    break;
                }
            }
        }
        let mut all: Vec<_> = members.iter().map(|member| member.index).zip(ended).collect();
        all.sort_by_key(|(index, _)| *index);
        Ok(all.into_iter().map(|(_, end)| end).collect())
    }
}
