//! A sliding window as one strided view per element of it: what pooling on other devices is composed of.

use candle_core::{Result, Tensor};

use crate::window::Window;

/// The values of `x` `[batch, channels, height, width]` under each element of the window, row by row; outside of the input
/// is `edge`.
pub(super) fn views(x: &Tensor, window: [Window; 2], edge: f32, outputs: [usize; 2]) -> Result<Vec<Tensor>> {
    let mut padded = x.clone();
    for (dim, Window { padding, .. }) in [(2, window[0]), (3, window[1])] {
        if padding > 0 {
            let mut dims = padded.dims().to_vec();
            dims[dim] = padding;
            let edge = Tensor::full(edge, dims, x.device())?.to_dtype(x.dtype())?;
            padded = Tensor::cat(&[&edge, &padded, &edge], dim)?;
        }
    }
    // Positions along an axis fit u32, because a plane's elements do.
    let positions = |w: Window, at: usize, outputs: usize| {
        let list: Vec<u32> = (0..outputs).map(|i| (i * w.stride + at * w.dilation) as u32).collect();
        Tensor::new(list, x.device())
    };
    let mut views = Vec::new();
    for ky in 0..window[0].kernel {
        let rows = padded.index_select(&positions(window[0], ky, outputs[0])?, 2)?;
        for kx in 0..window[1].kernel {
            views.push(rows.index_select(&positions(window[1], kx, outputs[1])?, 3)?);
        }
    }
    Ok(views)
}
