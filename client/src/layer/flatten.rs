//! `flatten`: all dimensions of an example into one. In row-major memory there is nothing to do.

use tributary_common::model::Layer;

use super::{Element, Operator, Place, Row};

pub(super) const ROW: Row = Row { name: "flatten", single: build, double: build };

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    matches!(place.layer(), Layer::Flatten).then_some(Operator::Nothing)
}
