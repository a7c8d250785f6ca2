//! A worker that brings an update without training, after as much thought as it was told to take.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tributary_client::agent::{Prepared, Status, Update, Watch, Worker};
use tributary_client::plan::Plan;
use tributary_common::config::Document;
use tributary_common::id::{ClientId, Round};
use tributary_common::message::{Ready, Results};
use tributary_common::parameters::{AlignedBuffer, Layout, Parameters};

use super::tally::Tally;

/// While it thinks, a worker looks this often whether anybody still waits.
const LOOK: Duration = Duration::from_millis(20);

/// Sends small values, others for every client and round.
pub(super) struct Synthetic {
    name: ClientId,
    think: Duration,
    plan: Option<Plan>,
    trained: Trained,
    tally: Arc<Mutex<Tally>>,
}

/// When the last update was ready, shared with whoever hears of its receipt.
#[derive(Clone, Debug, Default)]
pub(super) struct Trained(Arc<Mutex<Option<Instant>>>);

impl Trained {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(crate::command::sim::now());
    }

    /// How long an update that is acknowledged now was on its way.
    pub(super) fn since(&self, status: &Status) -> Option<Duration> {
        let is_receipt = matches!(status, Status::Acknowledged { .. });
        let at = self.0.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| is_receipt)?;
        Some(at.elapsed())
    }
}

impl Synthetic {
    pub(super) fn new(name: &ClientId, think: Duration, tally: Arc<Mutex<Tally>>) -> Self {
        Self { name: name.clone(), think, plan: None, trained: Trained::default(), tally }
    }

    pub(super) fn trained(&self) -> Trained {
        self.trained.clone()
    }
}

/// What a coordinator says of its run.
pub(in crate::command) fn plan(text: &str) -> Result<Plan, String> {
    let document = Document::parse("plan", text).map_err(|error| error.to_string())?;
    Plan::parse(&document).map_err(|error| error.to_string())
}

/// What leaves a device that did not train: small values, sealed by the plan's stages.
pub(in crate::command) fn sealed(plan: &Plan, seed: u64) -> Parameters {
    plan.stages.seal(update(&plan.model.layout, seed))
}

/// Values between ±0.005, none of them denormal, which would be slow to add.
pub(in crate::command) fn update(layout: &Arc<Layout>, seed: u64) -> Parameters {
    let mut buffer = AlignedBuffer::zeroed(layout.bytes());
    // Marsaglia's xorshift (2003): what the values are does not matter, only that they differ and cost little.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for tensor in layout.tensors() {
        for chunk in buffer.as_mut()[tensor.range()].chunks_exact_mut(tensor.dtype.size()) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // 16 bits are exact in every type but the shortest, which rounds them.
            let [high, low, ..] = state.to_be_bytes();
            tensor.dtype.write(f64::from(u16::from_be_bytes([high, low])) / 6_553_600.0 - 0.005, chunk);
        }
    }
    Parameters::new(Arc::clone(layout), buffer.into_bytes()).expect("the buffer was made for the layout")
}

impl Worker for Synthetic {
    fn prepare(&mut self, plan: &str) -> Result<Prepared, String> {
        let plan = self::plan(plan)?;
        let layout = Arc::clone(&plan.model.layout);
        self.plan = Some(plan);
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).model(&layout);
        Ok(Prepared { ready: Ready { examples: 1, holdout: 0 }, layout })
    }

    fn train(&mut self, round: Round, _: &Parameters, watch: &mut dyn Watch) -> Result<Update, String> {
        let plan = self.plan.as_ref().ok_or_else(|| "work came before the plan".to_owned())?;
        let mut left = self.think;
        while !left.is_zero() {
            if !watch.goes_on(0, 1) {
                return Err("nobody waits any more".to_owned());
            }
            let nap = left.min(LOOK);
            std::thread::sleep(nap);
            left -= nap;
        }
        let update = sealed(plan, seed_of(&self.name, round));
        self.trained.now();
        Ok(Update { update, weight: 1 })
    }

    fn evaluate(&mut self, _: &Parameters, _: &mut dyn Watch) -> Result<Results, String> {
        Ok(Results::default())
    }
}

/// A number of its own for every client and round.
fn seed_of(name: &ClientId, round: Round) -> u64 {
    let digest = tributary_common::Digest::of(format!("{name} {round}").as_bytes());
    u64::from_le_bytes(digest.0[..8].try_into().expect("a digest has 32 bytes"))
}
