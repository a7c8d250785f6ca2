//! Some neighbouring coordinates and the proof that they cannot overflow.

use tributary_kernels::fold::{self, SMALL_MAX, Term};

use super::quotient::quotient;
use super::{Value, Weight};

/// A bound up to which a block sums in i64.
const NARROW_MAX: u128 = i64::MAX as u128;

#[derive(Clone, Debug)]
pub(super) enum Lanes {
    Narrow(Box<[i64]>),
    Wide(Box<[i128]>),
    /// So many zeros: nothing was folded yet, and they take no memory.
    Zeros(usize),
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
    pub(super) const fn zeros(len: usize) -> Self {
        Self { lanes: Lanes::Zeros(len), bound: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        match &self.lanes {
            Lanes::Narrow(lanes) => lanes.len(),
            Lanes::Wide(lanes) => lanes.len(),
            Lanes::Zeros(len) => *len,
        }
    }

    /// Takes one of `spare`'s lanes, if nothing was folded yet; `false` if there is none.
    pub(super) fn take(&mut self, spare: &mut Vec<Box<[i64]>>) -> bool {
        if let Lanes::Zeros(_) = self.lanes {
            let Some(lanes) = spare.pop() else { return false };
            self.lanes = Lanes::Narrow(lanes);
        }
        true
    }

    /// Sets every coordinate to zero; returns the lanes, zeroed, if they were 64 bits wide.
    pub(super) fn clear(&mut self) -> Option<Box<[i64]>> {
        match std::mem::replace(self, Self::zeros(self.len())).lanes {
            Lanes::Narrow(mut lanes) => {
                lanes.fill(0);
                Some(lanes)
            }
            Lanes::Wide(_) | Lanes::Zeros(_) => None,
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
            Lanes::Zeros(_) => 0,
        }
    }

    /// Adds the same coordinates of `K` updates to those from `at` on in one pass, if they are finite and small, as nearly all
    /// updates are; else nothing has changed and the answer is `false`.
    pub(super) fn fold_small<T: Value, const K: usize>(
        &mut self,
        at: usize,
        values: [&[T]; K],
        bits: u32,
        n: [Weight; K],
    ) -> bool {
        // What is small is below 2^51, so nothing overflows.
        if self.bound > NARROW_MAX / 2 {
            return false;
        }
        self.allow(0);
        let Lanes::Narrow(lanes) = &mut self.lanes else { return false };
        let (lanes, n) = (&mut lanes[at..at + values[0].len()], n.map(Weight::get));
        let Some(max) = T::fold_small(lanes, values, bits, n) else { return false };
        self.bound += quantised(max, bits) * u128::from(n.iter().sum::<u64>());
        true
    }

    /// Adds `values`, none larger than `max` by magnitude, to the coordinates from `at` on.
    pub(super) fn fold<T: Value>(&mut self, at: usize, values: &[T], max: f64, bits: u32, n: Weight) {
        self.allow(quantised(max, bits).saturating_mul(u128::from(n.get())));
        let term = Term::new(bits, n.get(), max);
        match &mut self.lanes {
            Lanes::Narrow(lanes) => T::fold(&mut lanes[at..at + values.len()], values, term),
            Lanes::Wide(lanes) => T::fold_wide(&mut lanes[at..at + values.len()], values, term),
            Lanes::Zeros(_) => unreachable!("`allow` has made room"),
        }
    }

    /// Writes the coordinates from `from` on, divided by `weight` and correctly rounded, times `unit` (a power of two, so
    /// exact: no quotient is smaller than 2^-52 unless it is 0).
    pub(super) fn means_into(&self, from: usize, out: &mut [f64], weight: u64, unit: f64) {
        match &self.lanes {
            // Sum and weight are exact in a double, so one division rounds once: the common case.
            Lanes::Narrow(lanes) if self.bound < SMALL_MAX => {
                fold::mean_small(out, &lanes[from..from + out.len()], weight, unit);
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
            Lanes::Zeros(_) => out.fill(0.0),
        }
    }

    /// Adds another block of the same coordinates.
    pub(super) fn merge(&mut self, other: &Self) {
        assert_eq!(self.len(), other.len(), "blocks of one place have one length");
        if matches!(other.lanes, Lanes::Zeros(_)) {
            return;
        }
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
            (Lanes::Zeros(_), _) | (_, Lanes::Zeros(_)) => unreachable!("`allow` has made room, and zeros add nothing"),
        }
    }

    /// Raises the bound by `more`, and makes room for it: 128 bits where 64 might no longer do.
    fn allow(&mut self, more: u128) {
        self.bound = self.bound.saturating_add(more);
        let fits = self.bound <= NARROW_MAX;
        match &self.lanes {
            Lanes::Narrow(lanes) if !fits => {
                self.lanes = Lanes::Wide(lanes.iter().map(|&lane| i128::from(lane)).collect());
            }
            Lanes::Zeros(len) if fits => self.lanes = Lanes::Narrow(vec![0; *len].into()),
            Lanes::Zeros(len) => self.lanes = Lanes::Wide(vec![0; *len].into()),
            Lanes::Narrow(_) | Lanes::Wide(_) => {}
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
