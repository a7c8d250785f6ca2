//! A worker that brings an update without training: what is left of a round is the link, the checks and the sum.

use tributary_client::agent::{Prepared, Update, Watch, Worker};
use tributary_common::id::Round;
use tributary_common::message::{Ready, Results};
use tributary_common::parameters::Parameters;

use crate::command::load::{plan, sealed};

/// Sends the same update in every round.
pub(super) struct Null {
    update: Option<Parameters>,
}

impl Null {
    pub(super) const fn new() -> Self {
        Self { update: None }
    }
}

impl Worker for Null {
    fn prepare(&mut self, plan: &str) -> Result<Prepared, String> {
        let plan = self::plan(plan)?;
        self.update = Some(sealed(&plan, 1));
        Ok(Prepared { ready: Ready { examples: 1, holdout: 0 }, layout: plan.model.layout })
    }

    fn train(&mut self, _: Round, _: &Parameters, _: &mut dyn Watch) -> Result<Update, String> {
        let update = self.update.clone().ok_or_else(|| "work came before the plan".to_owned())?;
        Ok(Update { update, weight: 1 })
    }

    fn evaluate(&mut self, _: &Parameters, _: &mut dyn Watch) -> Result<Results, String> {
        Ok(Results::default())
    }
}
