//! What is done to an update between the trainer and the sum. Client half (`seal`) and coordinator half (`open`) of one
//! idea stand in one file; a pipeline is a list of stages, read from `[[stages]]` or `stages = [...]` of the run file.

mod clip;
mod identity;

pub use clip::Clip;

use crate::config::{Error, Item, Row, choose};
use crate::parameters::Parameters;

/// The most stages of a pipeline.
pub const STAGES_MAX: usize = 16;

/// One stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    /// Bounds the update's L2 norm.
    Clip(Clip),
    /// Changes nothing.
    Identity,
}

/// Every stage, by name.
pub const ROWS: &[Row<Stage>] = &[clip::ROW, identity::ROW];

/// Stages in the order in which the client applies them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pipeline(Vec<Stage>);

/// An update that a client must not have sent through this pipeline.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The norm is above the bound that the client's stage enforces.
    #[error("the update's L2 norm is {norm}, the stage `clip` allows {bound}")]
    NormAboveBound {
        /// What arrived.
        norm: f64,
        /// What is allowed.
        bound: f64,
    },
}

impl Pipeline {
    /// Reads the list of stages; none is the identity.
    ///
    /// # Errors
    /// Unknown stages or keys, too many stages.
    pub fn parse(item: Option<Item>) -> Result<Self, Error> {
        let Some(item) = item else { return Ok(Self::default()) };
        let place = item.clone();
        let items = item.list()?;
        if items.len() > STAGES_MAX {
            return Err(place.fail(format!("a pipeline has at most {STAGES_MAX} stages, found {}", items.len())));
        }
        Ok(Self(items.into_iter().map(|item| choose::from_item(ROWS, "stage", item)).collect::<Result<_, _>>()?))
    }

    /// The client's half: what leaves the device.
    #[must_use]
    pub fn seal(&self, update: Parameters) -> Parameters {
        self.0.iter().fold(update, |update, stage| match stage {
            Stage::Clip(clip) => clip.seal(update),
            Stage::Identity => update,
        })
    }

    /// Whether [`Pipeline::open`] looks at the norm: it costs a pass over the update.
    #[must_use]
    pub fn needs_norm(&self) -> bool {
        self.0.iter().any(|stage| matches!(stage, Stage::Clip(_)))
    }

    /// The coordinator's half, given the norm that was computed while the update arrived.
    ///
    /// # Errors
    /// The update cannot have come out of [`Pipeline::seal`].
    pub fn open(&self, norm: f64) -> Result<(), Refused> {
        self.0.iter().try_for_each(|stage| match stage {
            Stage::Clip(clip) => clip.open(norm),
            Stage::Identity => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Document;

    fn pipeline(text: &str) -> Result<Pipeline, Error> {
        let mut root = Document::parse("s.toml", text).unwrap().table();
        Pipeline::parse(root.optional("stages"))
    }

    #[test]
    fn pipelines_are_read_and_mistakes_refused() {
        assert_eq!(pipeline("").unwrap(), Pipeline::default());
        let clip = pipeline("stages = ['identity', { kind = 'clip', norm = 2.0 }]").unwrap();
        assert_eq!(clip.0, [Stage::Identity, Stage::Clip(Clip { norm: 2.0 })]);
        assert!(pipeline("stages = ['clip']").unwrap_err().to_string().contains("norm"));
        assert!(pipeline("stages = ['clap']").unwrap_err().hint().unwrap().contains("`clip`"));
        assert!(pipeline(&format!("stages = [{}]", "'identity',".repeat(17))).is_err());
    }
}
