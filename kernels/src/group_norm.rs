//! Group normalisation (Wu and He 2018): the channels of every example in groups, each group to mean 0 and variance 1,
//! then scaled and shifted channel by channel.
//!
//! It does not look at other examples, which is why federated learning takes it in place of batch normalisation: with
//! few or one-sided examples a client's batch statistics are not those of the others (Hsieh et al. 2020).

pub use crate::gradients::Gradients;

use crate::norm::{Moments, sum};
use crate::real::Real;
use crate::relu::Activation;
use crate::widest::{self, Pass};

/// The layer's shape for one batch `[batch, channels, positions]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Examples.
    pub batch: usize,
    /// Channels of an example.
    pub channels: usize,
    /// Groups, which divide the channels: one is a layer normalisation over all of them, as many as channels an
    /// instance normalisation.
    pub groups: usize,
    /// Values of a channel, at least one: height times width.
    pub positions: usize,
    /// What is added to the variance; PyTorch's default is 1e-5.
    pub epsilon: f64,
}

impl GroupNorm {
    fn assert_lengths<T>(self, x: &[T], weight: &[T], y: &[T]) {
        let divides = self.groups > 0 && self.channels > 0 && self.channels.is_multiple_of(self.groups);
        assert!(divides, "groups divide the channels: {self:?}");
        assert!(self.positions > 0, "a channel has a value");
        assert_eq!(x.len(), self.batch * self.channels * self.positions, "input of {self:?}");
        assert_eq!(y.len(), x.len(), "output of {self:?}");
        assert_eq!(weight.len(), self.channels, "one scale per channel");
    }

    /// Channels of a group.
    const fn width(self) -> usize {
        self.channels / self.groups
    }

    /// The channels of the group that is the `index`-th of the whole batch.
    fn members(self, index: usize) -> std::ops::Range<usize> {
        let start = index % self.groups * self.width();
        start..start + self.width()
    }
}

/// Writes `y = activation((x − mean) / √(variance + ε) · weight + bias)`.
///
/// # Panics
/// If a length differs from the shape or the groups do not divide the channels.
pub fn forward<T: Real>(shape: GroupNorm, activation: Activation, x: &[T], weight: &[T], bias: &[T], y: &mut [T]) {
    shape.assert_lengths(x, weight, y);
    assert_eq!(bias.len(), shape.channels, "one shift per channel");
    widest::run(Forward { shape, activation, x, weight, bias, y });
}

struct Forward<'a, T> {
    shape: GroupNorm,
    activation: Activation,
    x: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Pass for Forward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { shape, activation, x, weight, bias, y } = self;
        let GroupNorm { positions, epsilon, .. } = shape;
        let len = shape.width() * positions;
        for (index, (x, y)) in x.chunks_exact(len).zip(y.chunks_exact_mut(len)).enumerate() {
            let moments = Moments::of(x, epsilon);
            let channels = x.chunks_exact(positions).zip(y.chunks_exact_mut(positions));
            for ((x, y), channel) in channels.zip(shape.members(index)) {
                let (w, b) = (weight[channel], bias[channel]);
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = moments.normalised(x) * w + b);
            }
            activation.forward(y);
        }
    }
}

/// Writes the gradients, given that of the output before the activation.
///
/// # Panics
/// If a length differs from the shape or the groups do not divide the channels.
pub fn backward<T: Real>(shape: GroupNorm, x: &[T], weight: &[T], dy: &[T], gradients: Gradients<'_, T>) {
    shape.assert_lengths(x, weight, dy);
    gradients.assert_lengths(x.len(), shape.channels, shape);
    widest::run(Backward { shape, x, weight, dy, gradients });
}

struct Backward<'a, T> {
    shape: GroupNorm,
    x: &'a [T],
    weight: &'a [T],
    dy: &'a [T],
    gradients: Gradients<'a, T>,
}

impl<T: Real> Pass for Backward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { shape, x, weight, dy, mut gradients } = self;
        let GroupNorm { positions, epsilon, .. } = shape;
        gradients.clear_parameters();
        let Gradients { mut input, weight: mut dweight, bias: mut dbias } = gradients;
        let len = shape.width() * positions;
        for (index, (x, dy)) in x.chunks_exact(len).zip(dy.chunks_exact(len)).enumerate() {
            let moments = Moments::of(x, epsilon);
            // Σ g and Σ g·x̂ of each channel are the parameters' gradients, and weighted they are the group's sums.
            let mut sums = [0.0; 2];
            let channels = || x.chunks_exact(positions).zip(dy.chunks_exact(positions)).zip(shape.members(index));
            for ((x, dy), channel) in channels() {
                let [g, gx] = sum([x, dy], |[x, g]| [g, g * moments.normalised_f64(x)]);
                if let Some(dweight) = &mut dweight {
                    dweight[channel] += T::from_f64(gx);
                }
                if let Some(dbias) = &mut dbias {
                    dbias[channel] += T::from_f64(g);
                }
                let w = weight[channel].to_f64();
                sums = [sums[0] + g * w, sums[1] + gx * w];
            }
            let Some(dx) = &mut input else { continue };
            let means = sums.map(|sum| T::from_f64(sum / len as f64));
            let dx = dx[index * len..][..len].chunks_exact_mut(positions);
            for (dx, ((x, dy), channel)) in dx.zip(channels()) {
                let w = weight[channel];
                for (dx, (&x, &g)) in dx.iter_mut().zip(x.iter().zip(dy)) {
                    *dx = moments.before(x, g * w, means);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::{assert_close, dot, gradient, values};
    use crate::layer_norm::{self, LayerNorm};

    const EPSILON: f64 = 1e-3;

    fn shapes() -> [GroupNorm; 7] {
        [(0, 4, 2, 3), (1, 1, 1, 1), (2, 6, 3, 5), (2, 6, 1, 16), (1, 4, 4, 17), (3, 5, 1, 1), (2, 6, 2, 20)].map(
            |(batch, channels, groups, positions)| GroupNorm { batch, channels, groups, positions, epsilon: EPSILON },
        )
    }

    fn run(shape: GroupNorm, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NAN; x.len()];
        forward(shape, Activation::Identity, x, weight, bias, &mut y);
        y
    }

    fn operands(shape: GroupNorm) -> [Vec<f64>; 3] {
        let len = shape.batch * shape.channels * shape.positions;
        [values(1, len), values(2, shape.channels), values(3, shape.channels)]
    }

    #[test]
    fn two_groups_by_hand() {
        // Groups {1, 3} and {2, 6}: means 2 and 4, deviations 1 and 2.
        let shape = GroupNorm { batch: 1, channels: 4, groups: 2, positions: 1, epsilon: 0.0 };
        let y = run(shape, &[1.0, 3.0, 2.0, 6.0], &[1.0, 2.0, 3.0, 4.0], &[0.0, 0.0, 0.5, 0.5]);
        assert_close(&y, &[-1.0, 2.0, -2.5, 4.5], 1e-15);
    }

    #[test]
    fn equals_a_slow_reference_in_both_types_and_with_a_rectifier() {
        for shape in shapes() {
            let [x, weight, bias] = operands(shape);
            let GroupNorm { channels, groups, positions, .. } = shape;
            let group = |at: usize| at / positions / (channels / groups);
            let expected: Vec<f64> = (0..x.len())
                .map(|at| {
                    let mates: Vec<f64> = (0..x.len()).filter(|&b| group(b) == group(at)).map(|b| x[b]).collect();
                    let mean = mates.iter().sum::<f64>() / mates.len() as f64;
                    let variance = mates.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / mates.len() as f64;
                    let channel = at / positions % channels;
                    (x[at] - mean) / (variance + EPSILON).sqrt() * weight[channel] + bias[channel]
                })
                .collect();
            assert_close(&run(shape, &x, &weight, &bias), &expected, 1e-13);
            let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let mut y = vec![f32::NAN; x.len()];
            forward(shape, Activation::Relu, &single(&x), &single(&weight), &single(&bias), &mut y);
            let expected: Vec<f64> = expected.iter().map(|y| y.max(0.0)).collect();
            assert_close(&y.iter().map(|&y| f64::from(y)).collect::<Vec<_>>(), &expected, 2e-5);
        }
    }

    #[test]
    fn one_group_of_single_values_is_layer_normalisation() {
        let shape = GroupNorm { batch: 3, channels: 20, groups: 1, positions: 1, epsilon: EPSILON };
        let [x, weight, bias] = operands(shape);
        let mut y = vec![f64::NAN; x.len()];
        let rows = LayerNorm { rows: 3, size: 20, epsilon: EPSILON };
        layer_norm::forward(rows, Activation::Identity, &x, &weight, &bias, &mut y);
        assert_close(&run(shape, &x, &weight, &bias), &y, 1e-15);
    }

    #[test]
    fn gradients_agree_with_differences() {
        for shape in shapes() {
            let [x, weight, bias] = operands(shape);
            let c = values(4, x.len());
            let [mut dx, mut dweight, mut dbias] = [&x, &weight, &bias].map(|v| vec![f64::NAN; v.len()]);
            let all = Gradients { input: Some(&mut dx), weight: Some(&mut dweight), bias: Some(&mut dbias) };
            backward(shape, &x, &weight, &c, all);
            assert_close(&dx, &gradient(&x, |x| dot(&run(shape, x, &weight, &bias), &c)), 1e-7);
            assert_close(&dweight, &gradient(&weight, |w| dot(&run(shape, &x, w, &bias), &c)), 1e-8);
            assert_close(&dbias, &gradient(&bias, |b| dot(&run(shape, &x, &weight, b), &c)), 1e-8);
        }
    }
}
