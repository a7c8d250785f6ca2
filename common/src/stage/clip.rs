//! `clip`: bounds an update's L2 norm, Δ ← Δ · min(1, C / ‖Δ‖₂) (Abadi et al. 2016, algorithm 1, per client as in McMahan
//! et al. 2018).

use super::{Refused, Stage};
use crate::config::Row;
use crate::parameters::{AlignedBuffer, Parameters};

/// Rounding each coordinate to its type may lift the norm of a clipped update by this factor.
const ROUNDING: f64 = 1.0 + 1e-2;

pub(super) const ROW: Row<Stage> = Row {
    name: "clip",
    help: "bounds the update's L2 norm; norm = the bound",
    parse: |table| {
        let norm = table.required("norm")?.number_in(f64::MIN_POSITIVE..=f64::MAX)?;
        Ok(Stage::Clip(Clip { norm }))
    },
};

/// A bound on the L2 norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// The bound C, positive.
    pub norm: f64,
}

impl Clip {
    pub(super) fn seal(self, update: Parameters) -> Parameters {
        let norm = update.norm();
        if norm <= self.norm {
            return update;
        }
        let factor = self.norm / norm;
        let mut buffer = AlignedBuffer::copy_of(update.bytes());
        for tensor in update.layout().tensors() {
            let dtype = tensor.dtype;
            for chunk in buffer.as_mut()[tensor.range()].chunks_exact_mut(dtype.size()) {
                dtype.write(dtype.read(chunk) * factor, chunk);
            }
        }
        Parameters::new(update.layout().clone(), buffer.into_bytes()).expect("the buffer is a copy")
    }

    pub(super) fn open(self, norm: f64) -> Result<(), Refused> {
        let bound = self.norm;
        if norm <= bound * ROUNDING { Ok(()) } else { Err(Refused::NormAboveBound { norm, bound }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{Dtype, Layout};

    fn update(values: [f32; 2]) -> Parameters {
        let layout = Layout::new([("a", Dtype::F32, vec![2])]).unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Parameters::new(layout, bytes.into()).unwrap()
    }

    #[test]
    fn long_updates_shrink_to_the_bound_and_short_ones_stay() {
        let clip = Clip { norm: 2.5 };
        assert_eq!(clip.seal(update([3.0, 4.0])), update([1.5, 2.0]));
        assert_eq!(clip.seal(update([0.3, 0.4])), update([0.3, 0.4]));
    }

    #[test]
    fn an_update_that_was_not_clipped_is_refused() {
        let clip = Clip { norm: 2.5 };
        assert_eq!(clip.open(clip.seal(update([3.0, 4.0])).norm()), Ok(()));
        assert_eq!(clip.open(5.0), Err(Refused::NormAboveBound { norm: 5.0, bound: 2.5 }));
    }
}
