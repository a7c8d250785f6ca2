//! `identity`: the update as it is.

use super::Stage;
use crate::config::Row;

pub(super) const ROW: Row<Stage> =
    Row { name: "identity", help: "the update as it is", parse: |_| Ok(Stage::Identity) };
