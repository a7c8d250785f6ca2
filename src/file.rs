//! A run file, whole: read once, checked for sections that nobody knows, handed out to those whose they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tributary_client::cli;
use tributary_client::plan::Plan;
use tributary_client::supply::{Dealt, Supply};
use tributary_client::trainer::check_step;
use tributary_common::config::Document;
use tributary_common::model::initial;
use tributary_common::parameters::{Parameters, safetensors};
use tributary_coordinator::Strategy;
use tributary_simulation::Settings;

use crate::command::memory;
use crate::exit::{Failure, INVALID};
use crate::output::bytes;

/// Every section that a run file may have.
const SECTIONS: &[&str] =
    &["aggregate", "cohort", "data", "evaluate", "input", "model", "run", "server", "sim", "stages", "train"];

/// How often a model stands in memory at least, wherever it is trained or served: itself, the next one, and an update or the
/// sum of them.
const COPIES_MIN: u64 = 3;

/// A run file in all its parts.
pub(crate) struct RunFile {
    /// As it was typed, for the run's folder.
    pub(crate) text: String,
    pub(crate) document: Document,
    pub(crate) strategy: Strategy,
    pub(crate) plan: Arc<Plan>,
    pub(crate) sim: Settings,
    base: PathBuf,
}

impl RunFile {
    /// Reads `path` with `set` over it.
    pub(crate) fn read(path: &Path, set: &[String]) -> Result<Self, Failure> {
        let document = cli::document(path, set)?;
        let text = std::fs::read_to_string(path).map_err(|error| Failure::new(INVALID, error))?;
        let base = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let mut root = document.table();
        for section in SECTIONS {
            drop(root.optional(section));
        }
        root.finish()?;
        let strategy = Strategy::parse(&document)?;
        let plan = Arc::new(Plan::parse(&document)?);
        let sim = Settings::parse(document.table().section("sim")?)?;
        let kept = if set.is_empty() { text } else { format!("# with --set {}\n{text}", set.join(" --set ")) };
        Ok(Self { text: kept, document, strategy, plan, sim, base })
    }

    /// What simulated and demo clients hold.
    pub(crate) fn deal(&self) -> Result<Dealt, Failure> {
        let supply = Supply::parse(self.document.table().section("data")?, self.base.clone())?;
        let dealt = supply.load(&self.plan.input, self.plan.seed)?;
        if self.strategy.evaluate_on.central && dealt.test.is_none() {
            let text = "`evaluate.on` names central, and `data.test` names no examples to measure on";
            return Err(Failure::new(INVALID, text)
                .with_hint(Some("write data.test = { every = 5 }, or \"source\" where the source has test files")));
        }
        Ok(dealt)
    }

    /// The same, where a client's step takes no more memory than trainers allow.
    pub(crate) fn deal_to_train(&self) -> Result<Dealt, Failure> {
        let dealt = self.deal()?;
        let most = dealt.parts.iter().map(<[u32]>::len).max().unwrap_or_default();
        check_step(&self.plan, most)?;
        Ok(dealt)
    }

    /// The model to start from: the run file's own, or drawn from the seed. One for which there is no memory is refused.
    pub(crate) fn initial_model(&self) -> Result<Parameters, Failure> {
        let model = &self.strategy.model;
        fits(model.layout.bytes() as u64, memory::available().unwrap_or(u64::MAX))?;
        let Some(from) = &model.from else {
            return Ok(initial::parameters(model, self.strategy.rounds.seed));
        };
        let path = self.base.join(from);
        let read = safetensors::read(&path).map_err(|error| Failure::new(INVALID, error))?;
        match read.layout().difference(&model.layout) {
            None => Ok(read),
            Some(differs) => {
                Err(Failure::new(INVALID, format!("could not start from `{}`: {differs}", path.display())))
            }
        }
    }
}

/// Refuses a model of `size` bytes that takes more memory than the `free` bytes.
fn fits(size: u64, free: u64) -> Result<(), Failure> {
    let what = format!("a model of {} takes", bytes(size));
    memory::fits(&what, COPIES_MIN.saturating_mul(size), "this machine's memory at least", free)
        .map_err(|failure| failure.with_hint(Some("make its layers smaller; `tributary check` shows which are large")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_fits_into_what_is_free_to_the_last_byte() {
        fits(33, 99).unwrap();
        let text = fits(33, 98).unwrap_err().text;
        assert_eq!(text, "a model of 33 B takes 99 B of this machine's memory at least, 98 B are free");
    }
}
