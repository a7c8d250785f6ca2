//! The clients' half: what their machines want done.

use std::collections::BTreeMap;
use std::time::Duration;

use tributary_client::data::Dataset;
use tributary_client::machine::{self as client, Machine};
use tributary_client::plan::{Batch, Length, Plan, holdout};
use tributary_client::trainer::PIECE;
use tributary_common::Digest;
use tributary_common::id::{ClientId, Ticket};
use tributary_common::message::{Offer, Results};
use tributary_common::metrics::Metrics;
use tributary_coordinator::round::Event;

use super::{Happening, World};
use crate::workers::{Key, Measure, Outcome, Pool, Sealed, Train};

/// The name of the simulated evaluator.
pub(super) const EVALUATOR: &str = "evaluator";

/// A client that has something to do. Nothing is kept of the others.
#[derive(Default)]
pub(super) struct Device {
    machine: Machine,
    keys: BTreeMap<Ticket, Vec<(On, Key)>>,
    update: Option<(Ticket, Box<Sealed>)>,
    pub(super) results: Option<Results>,
}

#[derive(Clone, Copy)]
enum On {
    Central,
    Local,
    Train,
    Update,
}

impl<'a> World<'a> {
    pub(super) fn client(&mut self, client: &ClientId, event: client::Event) {
        let mut effects = Vec::new();
        let device = self.devices.entry(client.clone()).or_insert_with(|| {
            let mut device = Device::default();
            device.machine.step(client::Event::Connected, &mut effects);
            device
        });
        device.machine.step(event, &mut effects);
        for effect in effects {
            self.act(client, effect);
        }
        if self.devices.get(client).is_some_and(|device| device.machine.phase().is_none()) {
            self.devices.remove(client);
        }
    }

    fn act(&mut self, client: &ClientId, effect: client::Effect) {
        let message = self.link.message();
        let who = client.clone();
        match effect {
            client::Effect::Accept { ticket } => {
                self.happen(Happening::Coordinator(Event::TaskAccepted { client: who, ticket }), message);
            }
            client::Effect::Decline { ticket, reason } => {
                self.happen(Happening::Coordinator(Event::TaskDeclined { client: who, ticket, reason }), message);
            }
            client::Effect::Fetch(offer) => {
                let after = self.fetch(client, &offer);
                self.happen(Happening::Client(who, client::Event::Fetched { ticket: offer.ticket }), after);
            }
            client::Effect::Work(offer) => self.work(client, &offer),
            client::Effect::Put { ticket } => self.put(client, ticket),
            client::Effect::Report { ticket } => {
                self.happen(Happening::Coordinator(Event::Evaluated { client: who, ticket }), message);
            }
            // A device is forgotten with its machine; what the pool still computes is nobody's.
            client::Effect::Forget { .. } | client::Effect::Stop { .. } => {}
        }
    }

    /// How long the model of `offer` takes to come; one that is there already does not come again.
    fn fetch(&mut self, client: &ClientId, offer: &Offer) -> Duration {
        let now = self.now;
        if self.held.get(client).is_some_and(|&(version, since)| version == offer.version && since <= now) {
            return Duration::ZERO;
        }
        self.recorder.sent(offer.ticket, offer.bytes);
        let after = self.link.transfer(self.model.layout().bytes());
        self.held.insert(client.clone(), (offer.version, now + after));
        after
    }

    fn work(&mut self, client: &ClientId, offer: &Offer) {
        let Some(model) = self.models.get(&offer.version).cloned() else { return };
        let (run, plan) = (self.run, &self.run.plan);
        let mut keys = Vec::new();
        let mut after = Duration::ZERO;
        let mut measure = |pool: &mut Pool<'a>, on, dataset: &'a Dataset, indices: &[u32]| {
            // In pieces, so that all workers share a large set; merged they are what one device would have measured.
            for piece in indices.chunks(PIECE) {
                let work = Measure { model: model.clone(), dataset, indices: piece.to_vec() };
                keys.push((on, pool.measure(work)));
            }
        };
        if let (EVALUATOR, Some(test)) = (client.as_str(), &run.population.test) {
            let all: Vec<u32> = (0..u32::try_from(test.len()).expect("data sets are below 2^32")).collect();
            measure(&mut self.pool, On::Central, test, &all);
        } else {
            let part = run.population.part(client).unwrap_or_default();
            let split = holdout::split(part, plan.holdout, plan.seed, client);
            match offer.ticket {
                Ticket::Train { round, .. } => {
                    after = self.link.training(steps(plan, split.train.len()));
                    let (client, dataset) = (client.clone(), &*run.population.train);
                    let (due, indices) = (self.now + after, split.train);
                    let work = Train { due, round, client, model: model.clone(), dataset, indices };
                    keys.push((On::Update, self.pool.train(work)));
                }
                Ticket::Evaluate { .. } => {
                    if plan.evaluate_on.train {
                        measure(&mut self.pool, On::Train, &run.population.train, &split.train);
                    }
                    if plan.evaluate_on.local {
                        measure(&mut self.pool, On::Local, &run.population.train, &split.held_out);
                    }
                }
            }
        }
        let device = self.devices.get_mut(client).expect("a device that works has a machine");
        device.keys.insert(offer.ticket, keys);
        self.happen(Happening::Done(client.clone(), offer.ticket), after);
    }

    /// The virtual end of a piece of work: waits for its real one.
    pub(super) fn done(&mut self, client: &ClientId, ticket: Ticket) {
        let Some(keys) = self.devices.get_mut(client).and_then(|device| device.keys.remove(&ticket)) else { return };
        let mut results = Results::default();
        let mut failure = None;
        for (on, key) in keys {
            match (on, self.pool.wait(key)) {
                (On::Update, Ok(Outcome::Trained(sealed))) => {
                    let device = self.devices.get_mut(client).expect("looked at above");
                    device.update = Some((ticket, sealed));
                }
                (On::Central, Ok(Outcome::Measured(metrics))) => {
                    failure = merge(&mut results.central, metrics).or(failure)
                }
                (On::Local, Ok(Outcome::Measured(metrics))) => failure = merge(&mut results.local, metrics).or(failure),
                (On::Train, Ok(Outcome::Measured(metrics))) => failure = merge(&mut results.train, metrics).or(failure),
                (_, Err(reason)) => failure = Some(reason),
                (_, Ok(_)) => unreachable!("an outcome is of the kind of its work"),
            }
        }
        let event = match failure {
            Some(reason) => client::Event::Failed { ticket, reason },
            None => client::Event::Finished { ticket, digest: self.digest_of(client, ticket) },
        };
        if let (Ticket::Evaluate { .. }, Some(device)) = (ticket, self.devices.get_mut(client)) {
            device.results = Some(results);
        }
        self.client(client, event);
    }

    /// The digest of a finished update.
    fn digest_of(&self, client: &ClientId, ticket: Ticket) -> Option<Digest> {
        let (held, sealed) = self.devices.get(client)?.update.as_ref()?;
        (*held == ticket).then_some(sealed.digest)
    }

    fn put(&mut self, client: &ClientId, ticket: Ticket) {
        let Some(device) = self.devices.get_mut(client) else { return };
        let Some((_, sealed)) = device.update.take().filter(|(held, _)| *held == ticket) else { return };
        let Sealed { update, examples, digest, norm } = *sealed;
        let who = client.clone();
        let after = self.link.transfer(update.bytes().len());
        let strategy = &self.run.strategy;
        let weight = norm.and_then(|norm| {
            strategy.stages.open(norm).map_err(|refused| refused.to_string())?;
            strategy.aggregator.weight(examples).map_err(|error| error.to_string())
        });
        let event = match weight {
            Ok(weight) => {
                self.recorder.received(ticket, update.bytes().len() as u64);
                self.staged.insert((ticket, client.clone()), update);
                Event::Staged { client: who, ticket, weight: weight.get(), digest }
            }
            Err(reason) => Event::Refused { client: who, ticket, reason },
        };
        self.happen(Happening::Coordinator(event), after);
    }
}

/// Adds a piece to what was measured; says what is wrong if they do not fit.
fn merge(all: &mut Option<Metrics>, piece: Metrics) -> Option<String> {
    match all {
        Some(all) => all.merge(&piece).err().map(|error| error.to_string()),
        None => {
            *all = Some(piece);
            None
        }
    }
}

/// How many steps a client of so many examples takes.
fn steps(plan: &Plan, examples: usize) -> u64 {
    let batches = match plan.train.batch {
        Batch::All => 1,
        Batch::Size(size) => examples.div_ceil(size) as u64,
    };
    match plan.train.length {
        Length::Epochs(epochs) => epochs * batches,
        Length::Steps(steps) => steps,
    }
}
