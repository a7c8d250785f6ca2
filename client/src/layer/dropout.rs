//! `dropout`: in training each value is zero with probability p, the others are scaled by 1/(1 − p).

#[cfg(feature = "candle")]
use candle_core::{Result, Tensor};
use tributary_common::model::Layer;
use tributary_common::rng::Stream;
use tributary_kernels::dropout;

#[cfg(feature = "candle")]
use super::Graph;
use super::{Element, Operator, Place, Row, Within};

pub(super) const ROW: Row = Row {
    name: "dropout",
    single: build,
    double: build,
    #[cfg(feature = "candle")]
    graph,
    #[cfg(feature = "candle")]
    stack: super::graph::merged,
};

struct Dropout<T> {
    rate: f32,
    uniform: Vec<f32>,
    /// The factors of the last forward pass in training.
    mask: Vec<T>,
}

fn build<T: Element>(place: &Place<'_>) -> Option<Operator<T>> {
    let Layer::Dropout(dropout) = place.layer() else { return None };
    Some(Operator::Within(Box::new(Dropout { rate: rate(dropout.p), uniform: Vec::new(), mask: Vec::new() })))
}

/// The probability as kernels take it.
#[expect(clippy::cast_possible_truncation, reason = "a probability to 24 bits is enough")]
const fn rate(p: f64) -> f32 {
    p as f32
}

/// Draws the factors of `count` values: one uniform number each, in the order of the values.
fn draw<T: Element>(rate: f32, count: usize, stream: &mut Stream, uniform: &mut Vec<f32>, mask: &mut Vec<T>) {
    uniform.clear();
    #[expect(clippy::cast_possible_truncation, reason = "24 of 53 random bits are enough")]
    uniform.extend((0..count).map(|_| stream.uniform() as f32));
    mask.resize(count, T::ZERO);
    dropout::mask(uniform, rate, mask);
}

impl<T: Element> Within<T> for Dropout<T> {
    fn forward(&mut self, values: &mut [T], stream: Option<&mut Stream>) {
        let Some(stream) = stream else { return };
        draw(self.rate, values.len(), stream, &mut self.uniform, &mut self.mask);
        dropout::apply(&self.mask, values);
    }

    fn backward(&mut self, _: &[T], gradient: &mut [T]) {
        dropout::apply(&self.mask, gradient);
    }
}

#[cfg(feature = "candle")]
fn graph(place: &Place<'_>, x: &Tensor, graph: &Graph<'_>) -> Result<Tensor> {
    graph.masks.map_or_else(|| Ok(x.clone()), |masks| x * masks.of(place)?)
}

/// The factors of `count` values, dropped with probability `p`.
#[cfg(feature = "candle")]
pub(super) fn factors<T: Element>(p: f64, count: usize, stream: &mut Stream) -> Vec<T> {
    let mut factors = Vec::new();
    draw(rate(p), count, stream, &mut Vec::new(), &mut factors);
    factors
}
