//! Keeps nothing beyond the process: for simulations and measurements.

use std::path::PathBuf;

use tributary_common::Digest;
use tributary_common::event::Event;
use tributary_common::id::Version;
use tributary_common::parameters::Parameters;

use super::{Error, Retained, Store};

/// A store that forgets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Store for Memory {
    fn keep(&self, _version: Version, _model: &Parameters, optimizer: &[u8]) -> Result<Retained, Error> {
        Ok(Retained { optimizer: Digest::of(optimizer), kept_from: None })
    }

    fn mark_best(&self, _version: Version) -> Result<(), Error> {
        Ok(())
    }

    fn event(&self, _event: &Event) -> Result<(), Error> {
        Ok(())
    }

    fn model_path(&self) -> Option<PathBuf> {
        None
    }

    fn folder(&self) -> Option<PathBuf> {
        None
    }

    fn spool(&self) -> Option<PathBuf> {
        None
    }
}
