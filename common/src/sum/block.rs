//! Some neighbouring coordinates and the proof that they cannot overflow.

use tributary_kernels::fold::Term;

use super::quotient::{EXACT_MAX, quotient};
use super::{Value, Weight};

/// A bound up to which a block sums in i64.
const NARROW_MAX: u128 = i64::MAX as u128;

#[derive(Clone, Debug)]
pub(super) enum Lanes {
    Narrow(Box<[i64]>),
    Wide(Box<[i128]>),
}

/// At most [`super::BLOCK`] coordinates.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) lanes: Lanes,
    /// Σ n·round(max|Δ|·2^bits) over all that was folded: no coordinate is larger by magnitude. Saturates, which costs
    /// nothing: it only decides about widening, and that happened long before.
    pub(super) bound: u128,
}

impl Block {
    pub(super) fn zeros(len: usize) -> Self {
        Self { lanes: Lanes::Narrow(vec![0; len].into()), bound: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        match &self.lanes {
            Lanes::Narrow(lanes) => lanes.len(),
            Lanes::Wide(lanes) => lanes.len(),
        }
    }

    pub(super) const fn is_wide(&self) -> bool {
        matches!(self.lanes, Lanes::Wide(_))
    }

    /// The coordinate at `i`.
    pub(super) fn at(&self, i: usize) -> i128 {
        match &self.lanes {
            Lanes::Narrow(lanes) => i128::from(lanes[i]),
            Lanes::Wide(lanes) => lanes[i],
        }
    }

    /// Adds `values`, none larger than `max` by magnitude, to the coordinates from `at` on.
    pub(super) fn fold<T: Value>(&mut self, at: usize, values: &[T], max: f64, bits: u32, n: Weight) {
        self.allow(quantised(max, bits).saturating_mul(u128::from(n.get())));
        let term = Term::new(bits, n.get(), max);
        match &mut self.lanes {
            Lanes::Narrow(lanes) => T::fold(&mut lanes[at..at + values.len()], values, term),
            Lanes::Wide(lanes) => T::fold_wide(&mut lanes[at..at + values.len()], values, term),
        }
    }

    /// Writes the coordinates from `from` on, divided by `weight` and correctly rounded, times `unit` (a power of two, so
    /// exact: no quotient is smaller than 2^-52 unless it is 0).
    pub(super) fn means_into(&self, from: usize, out: &mut [f64], weight: u64, unit: f64) {
        match &self.lanes {
            Lanes::Narrow(lanes) if self.bound <= EXACT_MAX => {
                // Sum and weight are exact in a double, so one division rounds once: the common case, in a loop without
                // branches.
                #[expect(clippy::cast_precision_loss, reason = "both are at most 2^53")]
                for (out, &lane) in out.iter_mut().zip(&lanes[from..]) {
                    *out = lane as f64 / weight as f64 * unit;
                }
            }
            Lanes::Narrow(lanes) => {
                for (out, &lane) in out.iter_mut().zip(&lanes[from..]) {
                    *out = quotient(lane.into(), weight) * unit;
                }
            }
            Lanes::Wide(lanes) => {
                for (out, &lane) in out.iter_mut().zip(&lanes[from..]) {
                    *out = quotient(lane, weight) * unit;
                }
            }
        }
    }

    /// Adds another block of the same coordinates.
    pub(super) fn merge(&mut self, other: &Self) {
        assert_eq!(self.len(), other.len(), "blocks of one place have one length");
        self.allow(other.bound);
        match (&mut self.lanes, &other.lanes) {
            (Lanes::Narrow(lanes), Lanes::Narrow(more)) => lanes.iter_mut().zip(more).for_each(|(a, b)| *a += b),
            (Lanes::Wide(lanes), Lanes::Narrow(more)) => {
                lanes.iter_mut().zip(more).for_each(|(a, b)| *a += i128::from(*b));
            }
            (Lanes::Wide(lanes), Lanes::Wide(more)) => lanes.iter_mut().zip(more).for_each(|(a, b)| *a += b),
            (Lanes::Narrow(_), Lanes::Wide(_)) => {
                unreachable!("a wide block's bound is beyond 64 bits, so `allow` has widened this one")
            }
        }
    }

    /// Raises the bound by `more`, and widens if 64 bits might no longer do.
    fn allow(&mut self, more: u128) {
        self.bound = self.bound.saturating_add(more);
        if let Lanes::Narrow(lanes) = &self.lanes
            && self.bound > NARROW_MAX
        {
            self.lanes = Lanes::Wide(lanes.iter().map(|&lane| i128::from(lane)).collect());
        }
    }

    /// Whether the bound holds and asks for the width that is there.
    pub(super) fn is_consistent(&self) -> bool {
        (self.bound > NARROW_MAX) == self.is_wide() && (0..self.len()).all(|i| self.at(i).unsigned_abs() <= self.bound)
    }
}

/// `round(max · 2^bits)`, exact: the product only changes the exponent, and rounding is monotone, so no coordinate of the
/// update is larger than this.
fn quantised(max: f64, bits: u32) -> u128 {
    let scaled = max * f64::from(1_u32 << (bits / 2)) * f64::from(1_u32 << (bits - bits / 2));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer from 0 to 2^74")]
    let rounded = scaled.round_ties_even() as u128;
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_widens_exactly_when_the_bound_leaves_64_bits() {
        let mut block = Block::zeros(2);
        let n = Weight::new(1 << 31).unwrap();
        // 2^32 · 2^0 · 2^31 = 2^63 is one more than an i64 holds.
        block.fold(0, &[4_294_967_295.0_f64, -1.0], 4_294_967_295.0, 0, n);
        assert!(!block.is_wide());
        block.fold(0, &[1.0_f64, 0.0], 1.0, 0, n);
        assert!(block.is_wide() && block.is_consistent());
        assert_eq!((block.at(0), block.at(1)), (1 << 63, -(1 << 31)));
    }

    #[test]
    fn bound_rounds_as_the_coordinates_do() {
        assert_eq!(quantised(0.5, 0), 0);
        assert_eq!(quantised(1.5, 0), 2);
        assert_eq!(quantised(4_294_967_296.0, 42), 1 << 74);
    }
}
