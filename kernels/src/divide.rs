//! Stored bytes as numbers: every image goes through this before the first layer sees it.

use crate::real::Real;
use crate::widest::{self, Pass};

/// Writes `x / divisor`, in the type of the result; division rounds once, so every processor writes the same.
///
/// On wide vectors this is a third of the time of a table of all bytes, which has one value for each load.
///
/// # Panics
/// If the lengths differ.
pub fn bytes<T: Real + From<u8>>(x: &[u8], divisor: T, out: &mut [T]) {
    assert_eq!(x.len(), out.len(), "every byte has its place");
    widest::run(Divide { x, divisor, out });
}

struct Divide<'a, T> {
    x: &'a [u8],
    divisor: T,
    out: &'a mut [T],
}

impl<T: Real + From<u8>> Pass for Divide<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        for (out, &x) in self.out.iter_mut().zip(self.x) {
            *out = T::from(x) / self.divisor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_divided_as_alone_at_every_place_of_a_vector() {
        let x: Vec<u8> = (0..=255).cycle().take(3 * 256 + 7).collect();
        for divisor in [255.0, 16.0, 1.0, 0.3] {
            let (mut single, mut double) = (vec![0.0_f32; x.len()], vec![0.0_f64; x.len()]);
            bytes(&x, divisor as f32, &mut single);
            bytes(&x, divisor, &mut double);
            for (i, &x) in x.iter().enumerate() {
                assert_eq!(single[i].to_bits(), (f32::from(x) / divisor as f32).to_bits());
                assert_eq!(double[i].to_bits(), (f64::from(x) / divisor).to_bits());
            }
        }
    }
}
