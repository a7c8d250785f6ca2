//! Group, layer and root mean square normalisation. candle's own layer and root mean square normalisations have no
//! backward pass, and group normalisation it has only as a composition.

use candle_core::{CpuStorage, D, Result, Shape, Tensor, bail};

use super::parametrised::{Input, Operands, Parametrised};
use super::values::{Element, read};
use crate::group_norm::{self, GroupNorm};
use crate::layer_norm::{self, LayerNorm};
use crate::relu::Activation;
use crate::rms_norm::{self, RmsNorm};

/// Normalises `groups` groups of the channels of `x` `[batch, channels, …]`, then scales and shifts every channel by
/// `weight` and `bias` `[channels]`.
///
/// # Errors
/// If the groups do not divide the channels, or the shapes, types or devices do not fit.
pub fn group_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, groups: usize, epsilon: f64) -> Result<Tensor> {
    apply(Norm::Group { groups, epsilon }, x, weight, Some(bias))
}

/// Normalises the last dimensions of `x`, which are those of `weight` and `bias`, then scales and shifts every value.
///
/// # Errors
/// If the shapes, types or devices do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    apply(Norm::Layer { epsilon }, x, weight, Some(bias))
}

/// Divides the last dimensions of `x`, which are those of `weight`, by their root mean square and scales every value.
///
/// # Errors
/// If the shapes, types or devices do not fit.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    apply(Norm::Rms { epsilon }, x, weight, None)
}

fn apply(op: Norm, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::norm(op, x, weight, bias);
    }
    checked(op, x, weight, bias)?;
    Operands { x, weight, bias }.apply(op)
}

/// What is wrong with the shapes.
fn checked(op: Norm, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    op.shape(x.shape(), weight.shape())?;
    match bias.filter(|bias| bias.dims() != weight.dims()) {
        Some(bias) => bail!("{}: the bias has shape {:?}, the weight {:?}", op.title(), bias.shape(), weight.shape()),
        None => Ok(()),
    }
}

/// The normalisations out of candle's operators.
pub(super) mod composed {
    use super::{Norm, Result, Tensor, checked, stacked};

    /// A normalisation out of candle's operators.
    ///
    /// # Errors
    /// If the groups do not divide the channels, or the shapes, types or devices do not fit.
    pub fn norm(op: Norm, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        checked(op, x, weight, bias)?;
        let bias = bias.map(|bias| bias.unsqueeze(0)).transpose()?;
        stacked::norm(op, &x.unsqueeze(0)?, &weight.unsqueeze(0)?, bias.as_ref())?.squeeze(0)
    }
}

/// The normalisations for several models at once (see [`super::stacked`]): `x` `[models, batch, …]` and the parameters
/// `[models, …]` have the models in front.
pub(super) mod stacked {
    use super::{D, Kernel, Norm, Parametrised, Result, Shape, Tensor, bail};

    /// A normalisation for each model.
    ///
    /// # Errors
    /// If the groups do not divide the channels, or the shapes, types or devices do not fit.
    pub fn norm(op: Norm, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (&[models, batch, ref places @ ..], &[weights, ref last @ ..]) = (x.dims(), weight.dims()) else {
            bail!("{}: the input's shape {:?} is not [models, batch, …]", op.title(), x.shape())
        };
        if models != weights {
            bail!("{}: {models} inputs came for {weights} models", op.title())
        }
        let merged = Shape::from([&[models * batch], places].concat());
        let shape = op.shape(&merged, &Shape::from(last))?;
        let rows = x.reshape(shape.rows())?;
        let centred = match shape {
            Kernel::Group(_) | Kernel::Layer(_) => rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?,
            Kernel::Rms(_) => rows,
        };
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + shape.epsilon())?.sqrt()?;
        let (all, size, positions) = shape.scaled();
        let (scaled, parameters) = ((models, all / models.max(1), size, positions), (models, 1, size, 1));
        let normalised = centred.broadcast_div(&deviation)?.reshape(scaled)?;
        let scaled = normalised.broadcast_mul(&weight.reshape(parameters)?)?;
        let y = match bias {
            Some(bias) => scaled.broadcast_add(&bias.reshape(parameters)?)?,
            None => scaled,
        };
        y.reshape(x.shape())
    }
}

/// A normalisation before it sees a shape. `epsilon` is added to the variance, or to the mean square, below the root.
#[derive(Clone, Copy, Debug)]
pub enum Norm {
    /// [`group_norm()`]
    Group {
        /// How many groups the channels are in.
        groups: usize,
        /// As above.
        epsilon: f64,
    },
    /// [`layer_norm()`]
    Layer {
        /// As above.
        epsilon: f64,
    },
    /// [`rms_norm()`], which has no bias.
    Rms {
        /// As above.
        epsilon: f64,
    },
}

/// A normalisation of one shape.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    Group(GroupNorm),
    Layer(LayerNorm),
    Rms(RmsNorm),
}

impl Norm {
    fn shape(self, x: &Shape, weight: &Shape) -> Result<Kernel> {
        let (dims, size) = (x.dims(), weight.elem_count());
        let rows = match dims.len().checked_sub(weight.rank()) {
            Some(leading) if weight.rank() > 0 && size > 0 => dims.split_at(leading),
            _ => bail!("{}: the weight's shape {weight:?} does not fit the input's {x:?}", self.title()),
        };
        let last = |(leading, trailing): (&[usize], &[usize])| match trailing == weight.dims() {
            true => Ok(leading.iter().product()),
            false => bail!("{}: the input's shape {x:?} does not end in the weight's {weight:?}", self.title()),
        };
        match self {
            Self::Group { groups, epsilon } => {
                let (&[channels], &[batch, second, ref places @ ..]) = (weight.dims(), dims) else {
                    bail!("group_norm: the input {x:?} is not [batch, channels, …] or the weight not [channels]")
                };
                let positions = places.iter().product();
                if second != channels || positions == 0 || groups == 0 || !channels.is_multiple_of(groups) {
                    bail!("group_norm: {groups} groups and a weight of {channels} do not fit the input's shape {x:?}")
                }
                Ok(Kernel::Group(GroupNorm { batch, channels, groups, positions, epsilon }))
            }
            Self::Layer { epsilon } => Ok(Kernel::Layer(LayerNorm { rows: last(rows)?, size, epsilon })),
            Self::Rms { epsilon } => Ok(Kernel::Rms(RmsNorm { rows: last(rows)?, size, epsilon })),
        }
    }
}

impl Parametrised for Norm {
    fn title(&self) -> &'static str {
        match self {
            Self::Group { .. } => "group_norm",
            Self::Layer { .. } => "layer_norm",
            Self::Rms { .. } => "rms_norm",
        }
    }

    fn forward_in<T: Element>(
        &self,
        x: Input<'_>,
        weight: Input<'_>,
        bias: Option<Input<'_>>,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = self.shape(x.1.shape(), weight.1.shape())?;
        let bias = bias.map_or(Ok(&[][..]), |(storage, layout)| read::<T>(storage, layout))?;
        let mut y = vec![T::ZERO; x.1.shape().elem_count()];
        let (values, weight, none) = (read(x.0, x.1)?, read(weight.0, weight.1)?, Activation::Identity);
        match shape {
            Kernel::Group(shape) => group_norm::forward(shape, none, values, weight, bias, &mut y),
            Kernel::Layer(shape) => layer_norm::forward(shape, none, values, weight, bias, &mut y),
            Kernel::Rms(shape) => rms_norm::forward(shape, none, values, weight, &mut y),
        }
        Ok((T::to_cpu_storage_owned(y), x.1.shape().clone()))
    }

    fn backward_in<T: Element>(&self, operands: Operands<'_>, _y: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let shape = self.shape(operands.x.shape(), operands.weight.shape())?;
        operands.gradients::<T>(dy, |[x, weight, dy], gradients| match shape {
            Kernel::Group(shape) => group_norm::backward(shape, x, weight, dy, gradients),
            Kernel::Layer(shape) => layer_norm::backward(shape, x, weight, dy, gradients),
            Kernel::Rms(shape) => rms_norm::backward(shape, x, weight, dy, gradients),
        })
    }
}

impl Kernel {
    /// `[rows, values]`: what is normalised together.
    const fn rows(self) -> (usize, usize) {
        match self {
            Self::Group(GroupNorm { batch, channels, groups, positions, .. }) => {
                (batch * groups, channels / groups * positions)
            }
            Self::Layer(LayerNorm { rows, size, .. }) | Self::Rms(RmsNorm { rows, size, .. }) => (rows, size),
        }
    }

    /// The input's shape as parameters `[1, second, 1]` are broadcast over it.
    const fn scaled(self) -> (usize, usize, usize) {
        match self {
            Self::Group(GroupNorm { batch, channels, positions, .. }) => (batch, channels, positions),
            Self::Layer(LayerNorm { rows, size, .. }) | Self::Rms(RmsNorm { rows, size, .. }) => (rows, size, 1),
        }
    }

    const fn epsilon(self) -> f64 {
        match self {
            Self::Group(GroupNorm { epsilon, .. })
            | Self::Layer(LayerNorm { epsilon, .. })
            | Self::Rms(RmsNorm { epsilon, .. }) => epsilon,
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::op::testing::{check_gradients, each, is_tested, on_cpu, same, tensor};

    const EPSILON: f64 = 1e-3;
    const GROUP: Norm = Norm::Group { groups: 2, epsilon: EPSILON };
    const LAYER: Norm = Norm::Layer { epsilon: EPSILON };
    const RMS: Norm = Norm::Rms { epsilon: EPSILON };

    /// Operator, shape of the input, shape of the parameters.
    const CASES: [(Norm, &[usize], &[usize]); 9] = [
        (GROUP, &[3, 4, 2, 3], &[4]),
        (GROUP, &[2, 6], &[6]),
        (GROUP, &[0, 4, 3], &[4]),
        (LAYER, &[3, 5], &[5]),
        (LAYER, &[2, 3, 17], &[17]),
        (LAYER, &[2, 3, 4], &[3, 4]),
        (LAYER, &[0, 5], &[5]),
        (RMS, &[2, 3, 17], &[17]),
        (RMS, &[0, 5], &[5]),
    ];

    fn cases() -> impl Iterator<Item = (Norm, &'static [usize], &'static [usize])> {
        CASES.into_iter().filter(|(_, dims, _)| is_tested(dims))
    }

    fn has_bias(op: Norm) -> bool {
        !matches!(op, Norm::Rms { .. })
    }

    #[test]
    fn composition_for_other_devices_is_the_same_function() {
        for (op, dims, parameters) in cases() {
            let inputs = [tensor(1, dims), tensor(2, parameters), tensor(3, parameters)];
            let [x, weight, bias] = &inputs;
            let bias = has_bias(op).then_some(bias);
            let y = apply(op, x, weight, bias).unwrap();
            let host = bias.map(on_cpu);
            same(&y, &composed::norm(op, &on_cpu(x), &on_cpu(weight), host.as_ref()).unwrap());
            // Of empty tensors candle's own operators know no gradient.
            if x.elem_count() > 0 {
                check_gradients(&[x.clone(), weight.clone()], |[x, weight]| composed::norm(op, x, weight, bias));
            }
        }
    }

    #[test]
    fn each_model_of_a_stack_computes_as_if_it_were_alone() {
        for (op, dims, parameters) in CASES.into_iter().filter(|(_, dims, _)| dims[0] > 0) {
            let stack = |seed, dims: &[usize]| tensor(seed, &[&[3], dims].concat());
            let inputs = [stack(1, dims), stack(2, parameters), stack(3, parameters)];
            let [x, weight, bias] = &inputs;
            if has_bias(op) {
                let alone = each([x, weight, bias], |[x, weight, bias]| apply(op, x, weight, Some(bias)));
                same(&stacked::norm(op, x, weight, Some(bias)).unwrap(), &alone);
                check_gradients(&inputs, |[x, weight, bias]| stacked::norm(op, x, weight, Some(bias)));
            } else {
                let alone = each([x, weight], |[x, weight]| apply(op, x, weight, None));
                same(&stacked::norm(op, x, weight, None).unwrap(), &alone);
            }
            assert!(stacked::norm(op, x, &weight.narrow(0, 0, 2).unwrap(), None).is_err());
        }
    }

    /// Where candle is right: forward.
    #[test]
    fn equals_candles_own_forward() {
        let (x, weight, bias) = (tensor(1, &[2, 3, 17]), tensor(2, &[17]), tensor(3, &[17]));
        let centred = x.broadcast_sub(&x.mean_keepdim(2).unwrap()).unwrap();
        let variance = x.var_keepdim(2).unwrap().affine(16.0 / 17.0, EPSILON).unwrap();
        let expected = centred.broadcast_div(&variance.sqrt().unwrap()).unwrap();
        let expected = expected.broadcast_mul(&weight).unwrap().broadcast_add(&bias).unwrap();
        same(&layer_norm(&x, &weight, &bias, EPSILON).unwrap(), &expected);
    }

    #[test]
    fn gradients_agree_with_differences() {
        for (op, dims, parameters) in cases() {
            let inputs = [tensor(1, dims), tensor(2, parameters), tensor(3, parameters)];
            if has_bias(op) {
                check_gradients(&inputs, |[x, weight, bias]| apply(op, x, weight, Some(bias)));
            } else {
                let [x, weight, _] = inputs;
                check_gradients(&[x, weight], |[x, weight]| apply(op, x, weight, None));
            }
        }
    }

    #[test]
    fn transposed_and_narrowed_inputs_are_read_in_order() {
        let inputs = [tensor(1, &[3, 4, 2]), tensor(2, &[9]), tensor(3, &[9])];
        check_gradients(&inputs, |[x, weight, bias]| {
            let (x, weight, bias) = (x.permute((2, 1, 0))?, weight.narrow(0, 3, 4)?, bias.narrow(0, 5, 4)?);
            let y = group_norm(&x, &weight, &bias, 2, EPSILON)?;
            let cpu = [&x.contiguous()?, &weight, &bias].map(on_cpu);
            same(&y, &composed::norm(GROUP, &cpu[0], &cpu[1], Some(&cpu[2]))?);
            let x = x.transpose(1, 2)?;
            rms_norm(&(&x + layer_norm(&x, &weight, &bias, EPSILON)?)?, &weight, EPSILON)? + y.transpose(1, 2)?
        });
    }

    #[test]
    fn shapes_and_types_that_do_not_fit_are_errors() {
        let tensor = |seed, dims: &[usize]| on_cpu(&tensor(seed, dims));
        let (x, four, three) = (tensor(1, &[2, 4]), tensor(2, &[4]), tensor(3, &[3]));
        assert!(group_norm(&x, &four, &four, 3, EPSILON).is_err());
        assert!(group_norm(&x, &four, &four, 0, EPSILON).is_err());
        assert!(group_norm(&x, &three, &three, 1, EPSILON).is_err());
        assert!(group_norm(&four, &four, &four, 1, EPSILON).is_err());
        assert!(layer_norm(&x, &three, &three, EPSILON).is_err());
        assert!(layer_norm(&x, &four, &three, EPSILON).is_err());
        assert!(layer_norm(&four, &tensor(4, &[2, 4]), &x, EPSILON).is_err());
        assert!(rms_norm(&x, &three, EPSILON).is_err());
        assert!(rms_norm(&x.to_dtype(DType::U32).unwrap(), &four, EPSILON).is_err());
        assert!(rms_norm(&x.to_dtype(DType::F32).unwrap(), &four, EPSILON).is_err());
    }
}
