//! One's own training: ridge regression in closed form, in plain Rust, joined to a real coordinator over QUIC.
//!
//! ```text
//! cargo run --release --example own_trainer
//! ```
//!
//! Three sites observe the same law, y = 2a − b + 3, each over its own range and with its own noise. A [`Trainer`] is
//! whatever turns a model and examples into a difference: this one solves its site's normal equations, ignores where it
//! started, and says what is different. No gradient, no optimiser; `[train]` of the run file is for clients that use ours.
//!
//! Coordinator and clients run in this one process with certificates that are made for the occasion; what is between them
//! is the network all the same.

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::{Authority, RevocationFile};
use tributary_client::agent::{self, Membership, Settings};
use tributary_client::crew::{Crew, Held};
use tributary_client::data::{Dataset, Features, Labels};
use tributary_client::plan::Plan;
use tributary_client::trainer::{self, Control, Examples, Task, Trained, Trainer};
use tributary_common::config::Document;
use tributary_common::event::Event;
use tributary_common::id::{ClientId, Round, RunId, Seed};
use tributary_common::identity::{Identity, Role};
use tributary_common::metrics::{Metrics, Regression};
use tributary_common::net::{IDLE_TIMEOUT, KEEP_ALIVE, Windows};
use tributary_common::parameters::Parameters;
use tributary_common::rng::{self, Purpose};
use tributary_coordinator::server::{Limits, Run, Server};
use tributary_coordinator::store::Memory;

/// One round suffices: every site's answer is exact for its own examples.
const RUN: &str = r#"
run = { name = "ridge", rounds = 1 }
cohort = { wait_for = 3, quorum = 3 }
input = { shape = [2] }
model = { dtype = "f64", init = "zeros", layers = [{ kind = "linear", out = 1 }] }
train = { loss = "mse", optimizer = { kind = "sgd", lr = 1.0 }, steps = 1, batch = "all" }
data = { holdout = 0.2 }
evaluate = { on = ["local"] }
"#;

/// Ridge regression with a penalty that only keeps the equations solvable.
struct Ridge;

const PENALTY: f64 = 1e-6;

/// The weights of a and b, and the constant.
type Weights = [f64; 3];

impl Trainer for Ridge {
    fn train(&mut self, task: &Task<'_>, _: &mut dyn Control) -> Result<Trained, trainer::Error> {
        let solution = solve(&rows(&task.examples));
        // What travels is the difference to the model that the coordinator sent.
        let change = in_layout(task.model, solution).zip(task.model.values()).map(|(new, old)| new - old);
        Ok(Trained {
            update: Parameters::of_values(Arc::clone(task.model.layout()), change.collect::<Vec<_>>()),
            weight: task.examples.indices.len() as u64,
            metrics: None,
            steps: 1,
        })
    }

    fn evaluate(
        &mut self,
        model: &Parameters,
        examples: &Examples<'_>,
        _: &mut dyn Control,
    ) -> Result<Metrics, trainer::Error> {
        let mut weights = [0.0; 3];
        for tensor in model.layout().tensors() {
            let start = if tensor.name == "0.weight" { 0 } else { 2 };
            for (weight, chunk) in weights[start..].iter_mut().zip(model.tensor(tensor).chunks_exact(8)) {
                *weight = tensor.dtype.read(chunk);
            }
        }
        let predict = |[a, b, one]: [f64; 3]| weights[0] * a + weights[1] * b + weights[2] * one;
        Ok(Metrics::Regression(Regression::of(rows(examples).into_iter().map(|(x, y)| (y, predict(x))))))
    }
}

/// The weights as the layers have them: PyTorch's names, in the order of the model's layout.
fn in_layout(model: &Parameters, [a, b, constant]: Weights) -> impl Iterator<Item = f64> + '_ {
    let of = move |name: &str| if name == "0.weight" { vec![a, b] } else { vec![constant] };
    model.layout().tensors().iter().flat_map(move |tensor| of(&tensor.name))
}

/// The examples with a one for the constant, and what is to be predicted.
fn rows(examples: &Examples<'_>) -> Vec<([f64; 3], f64)> {
    let mut values = vec![0.0; 2 * examples.indices.len()];
    examples.dataset.gather_f64(examples.indices, &mut values);
    let targets = examples.dataset.targets().expect("the run predicts a number");
    let y = examples.indices.iter().map(|&index| targets[index as usize]);
    values.chunks_exact(2).map(|x| [x[0], x[1], 1.0]).zip(y).collect()
}

/// (XᵀX + λI) w = Xᵀy by elimination; the matrix is positive definite, so no pivoting is needed.
fn solve(rows: &[([f64; 3], f64)]) -> Weights {
    let mut m = [[0.0; 4]; 3];
    for (i, equation) in m.iter_mut().enumerate() {
        for (x, y) in rows {
            (0..3).for_each(|j| equation[j] += x[i] * x[j]);
            equation[3] += x[i] * y;
        }
        equation[i] += PENALTY;
    }
    for pivot in 0..3 {
        let row = m[pivot].map(|value| value / m[pivot][pivot]);
        m[pivot] = row;
        for other in (0..3).filter(|other| *other != pivot) {
            let factor = m[other][pivot];
            m[other].iter_mut().zip(row).for_each(|(value, of_pivot)| *value -= factor * of_pivot);
        }
    }
    m.map(|equation| equation[3])
}

/// What site `number` has observed: 200 points around its own place, with noise of its own.
fn observe(plan: &Plan, number: u32) -> Result<Dataset, trainer::Error> {
    let mut noise = rng::stream(Seed(7), Round(0), Some(&site(number)), Purpose::Init);
    let (mut values, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let (a, b) = (f64::from(number) + noise.uniform(), noise.uniform());
        #[expect(clippy::cast_possible_truncation, reason = "tables are held in single precision")]
        values.extend([a as f32, b as f32]);
        targets.push(2.0 * a - b + 3.0 + 0.1 * noise.normal());
    }
    let columns = vec!["a".to_owned(), "b".to_owned()];
    Dataset::new("observations", &plan.input, Features::Reals(values), Labels::Targets(targets), columns)
        .map_err(|error| trainer::Error::Own(error.into()))
}

fn site(number: u32) -> ClientId {
    format!("site-{number}").parse().expect("it is a name")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    #[expect(clippy::disallowed_methods, reason = "certificates are valid from now on")]
    let now = SystemTime::now();
    let authority = Authority::create(folder.path(), "example", now)?;
    let issue = |role, name: &ClientId| {
        let identity = Identity { federation: "example".to_owned(), role, name: name.clone() };
        authority.issue(&identity, Duration::from_secs(3600), now)
    };

    let run = Run::new(RunId(*b"example of ridge"), &Document::parse("RUN", RUN)?, Arc::new(Memory))?;
    let hub = issue(Role::Coordinator, &"hub".parse()?)?;
    let revoked = RevocationFile::open(&folder.path().join("revoked.crl"), hub.roots())?;
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), &hub, revoked, Limits::default())?;
    let address = server.address()?;
    println!("the coordinator listens on {address}");

    let mut sites = JoinSet::new();
    for number in 0..3 {
        let name = site(number);
        let membership = Membership::fixed(issue(Role::Client, &name)?);
        let load = move |plan: &Plan| observe(plan, number).map(Held::all).map_err(|error| error.to_string());
        let worker = Crew::with_trainer(name.clone(), Role::Client, Box::new(load), Box::new(|_| Box::new(Ridge)));
        let settings = Settings {
            name,
            coordinator: address.to_string(),
            device: "cpu".to_owned(),
            give_up_after: Some(Duration::from_secs(30)),
            once: true,
            windows: Windows::default(),
            keep_alive: KEEP_ALIVE,
            idle: IDLE_TIMEOUT,
            permit_seconds: agent::PERMIT_SECONDS,
            models: None,
            outbox: None,
        };
        sites.spawn(agent::run(settings, membership, worker, CancellationToken::new(), |_| {}));
    }
    let tell = |event: &Event| {
        if let Event::Round(line) = event
            && let Some(local) = &line.local
        {
            let rmse = local.rmse.unwrap_or(f64::NAN);
            println!("round {}: {} sites, error on their held-out points {rmse:.3}", line.round, line.clients);
        }
    };
    let ended = server.serve(run, CancellationToken::new(), tell).await?;
    while let Some(site) = sites.join_next().await {
        site??;
    }
    for tensor in ended.model.layout().tensors() {
        let values = ended.model.tensor(tensor).chunks_exact(8).map(|chunk| tensor.dtype.read(chunk));
        let values: Vec<_> = values.map(|value| format!("{value:.2}")).collect();
        println!("{} = {}", tensor.name, values.join(" "));
    }
    println!("the law is 0.weight = 2 -1, 0.bias = 3; the noise has a deviation of 0.1");
    Ok(())
}
