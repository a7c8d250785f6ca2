//! Our own trainer: follows the plan, batch by batch.

use std::fmt;
use std::sync::Arc;

use tributary_common::metrics::Metrics;
use tributary_common::parameters::{Dtype, Parameters};
use tributary_common::rng::{self, Purpose};

use super::batches::Batches;
use super::direct::Direct;
#[cfg(feature = "candle")]
use super::memory::BATCH_BYTES_MAX;
use super::memory::{self, columns_bytes, example_bytes};
#[cfg(feature = "candle")]
use super::stack::{self, Stack};
use super::tally::Tally;
use super::{Control, Error, Examples, Execution, Flow, Task, Trained, Trainer};
use crate::device::Device;
use crate::layer::Element;
use crate::plan::Plan;

/// Examples of a batch that automatic gradients measure on the cores: their layers keep everything in between.
#[cfg(feature = "candle")]
const GRAPH_BATCH: usize = 32;

/// The same on other devices, in bytes between the layers, 256 MiB: large enough that starting the work costs little.
#[cfg(feature = "candle")]
const DEVICE_BATCH_BYTES: usize = 1 << 28;

/// Trains as the plan says, on one thread. Keeps its buffers from task to task.
pub struct Local {
    plan: Arc<Plan>,
    execution: Box<dyn Execution>,
    /// Bytes of values and gradients that one example takes between the layers; as many as can be said if it overflows.
    example_bytes: usize,
    /// What the largest convolution unfolds an example into, in bytes.
    columns_bytes: usize,
    evaluation: Evaluation,
    /// Where it trains several clients at once.
    #[cfg(feature = "candle")]
    together: Option<Together>,
}

/// Several clients at once.
#[cfg(feature = "candle")]
struct Together {
    stack: Box<dyn stack::Together>,
    /// Less after the device's memory did not suffice.
    clients: usize,
    /// The most memory that they may take.
    bytes_max: usize,
}

/// How examples are measured.
#[derive(Clone, Copy)]
struct Evaluation {
    /// The most examples of a batch.
    batch: usize,
    /// What such a batch takes between the layers.
    bytes: usize,
}

/// Without the buffers: they hold examples, which are private.
impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Local({} parameters)", self.plan.model.layout.count())
    }
}

impl Local {
    /// A trainer for `plan` that runs the kernels directly.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let (execution, (batch, bytes)) = match plan.model.dtype {
            Dtype::F64 => direct::<f64>(&plan),
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => direct::<f32>(&plan),
        };
        let (example_bytes, evaluation) = (example_bytes(&plan), Evaluation { batch, bytes });
        Self {
            columns_bytes: columns_bytes(&plan),
            plan,
            execution,
            example_bytes,
            evaluation,
            #[cfg(feature = "candle")]
            together: None,
        }
    }

    /// A trainer for `plan` on `device`: on the cores as [`Local::new`], elsewhere by candle's automatic gradients.
    #[must_use]
    pub fn on(device: &Device, plan: Arc<Plan>) -> Self {
        #[cfg(feature = "candle")]
        if !device.is_cpu() {
            let batch = (DEVICE_BATCH_BYTES / example_bytes(&plan)).clamp(1, super::PIECE);
            return Self::by_autograd(plan, device, batch);
        }
        assert!(device.is_cpu(), "without candle there is no other device");
        Self::new(plan)
    }

    /// A trainer on the cores by candle's automatic gradients: slower, for comparison.
    #[cfg(feature = "candle")]
    #[must_use]
    pub fn with_autograd(plan: Arc<Plan>) -> Self {
        Self::by_autograd(plan, &Device::cpu(), GRAPH_BATCH)
    }

    /// Measures in batches of `batch` examples.
    #[cfg(feature = "candle")]
    fn by_autograd(plan: Arc<Plan>, device: &Device, batch: usize) -> Self {
        use super::autograd::Autograd;
        let (example_bytes, device) = (example_bytes(&plan), device.clone());
        let execution: Box<dyn Execution> = match plan.model.dtype {
            Dtype::F64 => Box::new(Autograd::<f64>::new(Arc::clone(&plan), device, example_bytes)),
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => {
                Box::new(Autograd::<f32>::new(Arc::clone(&plan), device, example_bytes))
            }
        };
        let evaluation = Evaluation { batch, bytes: example_bytes.saturating_mul(batch) };
        let columns_bytes = columns_bytes(&plan);
        Self { plan, execution, example_bytes, columns_bytes, evaluation, together: None }
    }

    /// A trainer for `plan` on `device` that trains up to `clients` clients at once, from 1 to [`stack::CLIENTS_MAX`]. What
    /// comes of a client is what it alone would train, up to rounding: the last bits depend on who is trained with it.
    #[cfg(feature = "candle")]
    #[must_use]
    pub fn stacked(device: &Device, plan: Arc<Plan>, clients: usize) -> Self {
        let clients = clients.min(stack::CLIENTS_MAX);
        let local = Self::on(device, plan);
        if clients < 2 {
            return local;
        }
        let (plan, device) = (Arc::clone(&local.plan), device.clone());
        let stack: Box<dyn stack::Together> = match plan.model.dtype {
            Dtype::F64 => Box::new(Stack::<f64>::new(plan, device)),
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => Box::new(Stack::<f32>::new(plan, device)),
        };
        Self { together: Some(Together { stack, clients, bytes_max: BATCH_BYTES_MAX }), ..local }
    }

    /// Trains these at once, or in halves where they take more memory than is allowed or there.
    #[cfg(feature = "candle")]
    fn train_stack(&mut self, tasks: &[Task<'_>], control: &mut dyn Control) -> Vec<Result<Trained, Error>> {
        let Some(together) = self.together.as_mut().filter(|_| tasks.len() > 1) else {
            return tasks.iter().map(|task| self.train(task, control)).collect();
        };
        if stack::bytes(&self.plan, tasks) <= together.bytes_max {
            match together.stack.train(tasks, control) {
                Ok(all) => return all,
                Err(Error::OutOfMemory { .. }) => together.clients = together.clients.min(tasks.len().div_ceil(2)),
                Err(error) => return tasks.iter().map(|_| Err(error.again())).collect(),
            }
        }
        let (first, second) = tasks.split_at(tasks.len().div_ceil(2));
        let mut all = self.train_stack(first, control);
        all.extend(self.train_stack(second, control));
        all
    }

    /// What is wrong with a task, before anything is computed.
    fn check_task(&self, task: &Task<'_>) -> Result<(), Error> {
        let batch = memory::batch(&self.plan, task.examples.indices.len());
        self.check(task.model, &task.examples, batch, self.example_bytes.saturating_mul(batch))
    }

    fn check(&self, model: &Parameters, examples: &Examples<'_>, batch: usize, bytes: usize) -> Result<(), Error> {
        let (input, dataset) = (&self.plan.input, examples.dataset);
        if examples.indices.is_empty() {
            return Err(Error::NoExamples);
        }
        if let Some(differs) = model.layout().difference(&self.plan.model.layout) {
            return Err(Error::ModelDiffers(differs));
        }
        let classes = input.classes.as_ref().map_or(0, |classes| classes.count());
        if dataset.shape() != input.shape || dataset.n_classes() != classes {
            let (shape, found) = (dataset.shape(), dataset.n_classes());
            let expected = format!("{:?} in {classes} classes are needed", input.shape);
            return Err(Error::ExamplesDiffer(format!("{shape:?} in {found} classes came, {expected}")));
        }
        if dataset.indices_below() != input.indices_below {
            let problem = "the model looks their values up, which were not checked for it".to_owned();
            return Err(Error::ExamplesDiffer(problem));
        }
        memory::check(batch, bytes.saturating_add(self.columns_bytes))
    }
}

impl Trainer for Local {
    fn train(&mut self, task: &Task<'_>, control: &mut dyn Control) -> Result<Trained, Error> {
        self.check_task(task)?;
        let stream = |purpose| rng::stream(self.plan.seed, task.round, Some(task.client), purpose);
        let Examples { dataset, indices } = task.examples;
        let mut batches = Batches::new(&self.plan.train, indices, stream(Purpose::Batches));
        let mut dropout = stream(Purpose::Dropout);
        // Metrics on the way are a courtesy: a model with more classes than they count trains without.
        let mut tally = Tally::new(&self.plan.input).ok();
        let steps = batches.steps();
        self.execution.begin(task.model)?;
        for done in 0..steps {
            proceed(control, done, steps)?;
            let loss = self.execution.learn(dataset, batches.next(), &mut dropout, tally.as_mut())?;
            if !loss.is_finite() {
                return Err(Error::NonFinite { step: done + 1, what: "the loss".to_owned() });
            }
        }
        proceed(control, steps, steps)?;
        let (update, is_finite) = self.execution.update(task.model)?;
        if !is_finite {
            let tensor = update.non_finite_tensor().unwrap_or_default();
            return Err(Error::NonFinite { step: steps, what: format!("tensor `{tensor}`") });
        }
        Ok(Trained { update, weight: indices.len() as u64, metrics: tally.map(Tally::into_metrics), steps })
    }

    #[cfg(feature = "candle")]
    fn clients(&self) -> usize {
        self.together.as_ref().map_or(1, |together| together.clients)
    }

    #[cfg(feature = "candle")]
    fn train_all(&mut self, tasks: &[Task<'_>], control: &mut dyn Control) -> Vec<Result<Trained, Error>> {
        let mut all: Vec<_> = tasks.iter().map(|task| self.check_task(task).err().map(Err)).collect();
        let sound: Vec<usize> = (0..tasks.len()).filter(|&index| all[index].is_none()).collect();
        for group in sound.chunks(self.clients()) {
            let own: Vec<Task<'_>> = group.iter().map(|&index| tasks[index]).collect();
            for (&index, trained) in group.iter().zip(self.train_stack(&own, control)) {
                all[index] = Some(trained);
            }
        }
        all.into_iter().map(|one| one.expect("what is sound was trained")).collect()
    }

    fn evaluate(
        &mut self,
        model: &Parameters,
        examples: &Examples<'_>,
        control: &mut dyn Control,
    ) -> Result<Metrics, Error> {
        let Evaluation { batch, bytes } = self.evaluation;
        self.check(model, examples, batch, bytes)?;
        let mut tally = Tally::new(&self.plan.input)?;
        self.execution.begin(model)?;
        // Batches of nearly equal length: a short last one costs nearly as much as a long one.
        let count = examples.indices.len();
        let batches = examples.indices.chunks(count.div_ceil(count.div_ceil(batch)));
        let total = batches.len() as u64;
        for (done, batch) in (0..total).zip(batches) {
            proceed(control, done, total)?;
            self.execution.predict(examples.dataset, batch, &mut tally)?;
        }
        proceed(control, total, total)?;
        Ok(tally.into_metrics())
    }
}

fn direct<T: Element>(plan: &Plan) -> (Box<dyn Execution>, (usize, usize)) {
    let direct = Direct::<T>::new(plan);
    let prediction = direct.prediction();
    (Box::new(direct), prediction)
}

pub(super) fn proceed(control: &mut dyn Control, done: u64, total: u64) -> Result<(), Error> {
    match control.step(done, total) {
        Flow::Continue => Ok(()),
        Flow::Stop => Err(Error::Stopped),
    }
}

#[cfg(all(test, feature = "candle"))]
mod tests {
    use super::*;
    use crate::trainer::Unwatched;
    use crate::trainer::tests::{device, images, local};

    const TRAIN: &str = "optimizer = { kind = 'sgd', lr = 0.1 }, epochs = 1, batch = 3";

    /// A device whose memory holds two clients.
    struct Small(Stack<f64>, Vec<usize>);

    impl stack::Together for Small {
        fn train(
            &mut self,
            tasks: &[Task<'_>],
            control: &mut dyn Control,
        ) -> Result<Vec<Result<Trained, Error>>, Error> {
            self.1.push(tasks.len());
            if tasks.len() > 2 {
                return Err(Error::OutOfMemory { device: "test".to_owned(), needed: 3, free: String::new() });
            }
            self.0.train(tasks, control)
        }
    }

    /// One client that is too much must not cost a cohort its round, nor be met again by every other group.
    #[test]
    fn a_shortage_halves_the_stack_once_and_for_all() {
        let problem = images("f64", TRAIN);
        let small = Small(Stack::new(Arc::clone(&problem.plan), device()), Vec::new());
        let mut trainer = Local::stacked(&device(), Arc::clone(&problem.plan), 6);
        let bytes_max = BATCH_BYTES_MAX;
        trainer.together = Some(Together { stack: Box::new(small), clients: 6, bytes_max });
        let alone = local(Arc::clone(&problem.plan)).train(&problem.task(), &mut Unwatched).unwrap();
        for clients in [6, 5] {
            let tasks = vec![problem.task(); clients];
            let all = trainer.train_all(&tasks, &mut Unwatched);
            assert_eq!(all.len(), clients);
            for trained in all {
                let update = trained.unwrap().update;
                let apart = update.values().zip(alone.update.values()).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f64::max) < 1e-12);
            }
        }
        assert_eq!(trainer.clients(), 2, "six, three, and then no more than two");
    }

    /// Counts how often work begins.
    struct Begun(usize);

    impl Control for Begun {
        fn step(&mut self, done: u64, _: u64) -> Flow {
            self.0 += usize::from(done == 0);
            Flow::Continue
        }
    }

    #[test]
    fn more_clients_than_the_memory_limit_allows_are_trained_in_halves() {
        let problem = images("f64", TRAIN);
        let tasks = vec![problem.task(); 6];
        for (fit, groups) in [(6, 1), (3, 2), (2, 4), (1, 6)] {
            let mut trainer = Local::stacked(&device(), Arc::clone(&problem.plan), 6);
            trainer.together.as_mut().unwrap().bytes_max = stack::bytes(&problem.plan, &tasks[..fit]);
            let mut begun = Begun(0);
            assert!(trainer.train_all(&tasks, &mut begun).iter().all(Result::is_ok));
            assert_eq!(begun.0, groups, "where {fit} fit");
        }
    }

    #[test]
    fn a_stack_has_its_limit() {
        let problem = images("f64", TRAIN);
        let clients = |clients| Local::stacked(&device(), Arc::clone(&problem.plan), clients).clients();
        assert_eq!([0, 1, 2, stack::CLIENTS_MAX + 1].map(clients), [1, 1, 2, stack::CLIENTS_MAX]);
    }
}
