//! `group_norm`: the channels in groups, each group to mean 0 and variance 1 (Wu and He 2018), as in `torch.nn.GroupNorm`.
//! In federated learning it stands where batch normalisation would (Hsieh et al. 2020).

use super::linear::OUT_MAX;
use super::{Layer, Parameter, Shape, norm};
use crate::config::Row;
use crate::model::initial::Kind;

pub(super) const ROW: Row<Layer> = Row {
    name: "group_norm",
    help: "normalises the channels in groups; groups, eps = 1e-5",
    parse: |table| {
        let groups = table.required("groups")?.size(1..=OUT_MAX)?;
        Ok(Layer::GroupNorm(GroupNorm { groups, eps: norm::eps(table)?.unwrap_or(norm::EPS) }))
    },
};

/// A normalisation over groups of channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// How many groups; divides the number of channels.
    pub groups: usize,
    /// What is added to the variance, above 0.
    pub eps: f64,
}

impl GroupNorm {
    pub(super) fn output(self, input: &Shape) -> Result<Shape, String> {
        let channels = input[0];
        if !channels.is_multiple_of(self.groups) {
            return Err(format!("{} groups do not divide {channels} channels", self.groups));
        }
        Ok(input.clone())
    }

    pub(super) fn parameters(index: usize, input: &Shape) -> Vec<Parameter> {
        norm::parameters(index, &input[..1], &[Kind::Scale, Kind::Shift])
    }
}
