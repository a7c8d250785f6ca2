//! The mean of a coordinate: an exact integer divided by an exact integer, rounded once to a double.

/// Integers up to this magnitude are exact in a double.
const EXACT_MAX: u128 = 1 << 53;

/// `sum / weight`, rounded once, ties to even. `weight` is from 1 to 2^52.
///
/// Where the sum is exact in a double, one division rounds once by IEEE 754. Elsewhere the quotient is computed as an
/// integer of at least 65 bits whose last bit also says whether anything is left; such an integer lies on the same side of
/// every midpoint between two doubles as the true quotient does, so converting it rounds correctly.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53, and elsewhere the one intended rounding")]
pub(crate) fn quotient(sum: i128, weight: u64) -> f64 {
    let magnitude = sum.unsigned_abs();
    let unsigned =
        if magnitude <= EXACT_MAX { magnitude as f64 / weight as f64 } else { long(magnitude, u128::from(weight)) };
    if sum < 0 { -unsigned } else { unsigned }
}

#[expect(clippy::cast_precision_loss, reason = "the one intended rounding; the cast rounds ties to even")]
fn long(magnitude: u128, weight: u128) -> f64 {
    const FRACTION: u32 = 64;
    let (whole, rest) = (magnitude / weight, magnitude % weight);
    if whole >> FRACTION > 0 {
        return (whole | u128::from(rest != 0)) as f64;
    }
    // rest < weight ≤ 2^52, so the shift stays below 2^116; whole ≥ 2, so the result has at least 65 bits.
    let (fraction, left) = ((rest << FRACTION) / weight, (rest << FRACTION) % weight);
    let quotient = (whole << FRACTION) | fraction | u128::from(left != 0);
    quotient as f64 / 18_446_744_073_709_551_616.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(sum: i128, weight: u64, expected: f64) {
        assert_eq!(quotient(sum, weight).to_bits(), expected.to_bits(), "{sum} / {weight}");
        assert_eq!(quotient(-sum, weight).to_bits(), (-expected).to_bits() & !(u64::from(sum == 0) << 63));
    }

    #[test]
    fn quotients_by_hand() {
        check(0, 7, 0.0);
        check(6, 4, 1.5);
        check(1 << 100, 1 << 52, 281_474_976_710_656.0);
        // 2^53 + 1 is a tie and goes to the even neighbour; with anything behind it, it goes up.
        check((1 << 53) + 1, 1, 9_007_199_254_740_992.0);
        check(((1 << 53) + 1) * 3 + 1, 3, 9_007_199_254_740_994.0);
        check((1 << 120) + (1 << 67), 1, 1_329_227_995_784_915_872_903_807_060_280_344_576.0);
        check((1 << 120) + (1 << 67) + 1, 1, 1_329_227_995_784_916_168_051_712_239_213_453_312.0);
    }

    /// Whether no double is nearer to `sum / weight` than the quotient is: with quotient = mantissa · 2^exponent, the gap
    /// |sum − quotient·weight| is at most half of 2^exponent·weight, all of it in whole numbers.
    fn is_nearest(sum: i128, weight: u64) -> bool {
        let bits = quotient(sum, weight).to_bits();
        let exponent = i32::try_from(bits >> 52).unwrap() - 1075;
        let mantissa = i128::from((bits & ((1 << 52) - 1)) | (1 << 52));
        let weight = i128::from(weight);
        let (up, down) = (exponent.max(0).unsigned_abs(), exponent.min(0).unsigned_abs());
        2 * ((sum << down) - ((mantissa * weight) << up)).abs() <= weight << up
    }

    proptest! {
        #[test]
        fn quotient_is_the_nearest_double(sum in 1_i128 << 53..1 << 74, weight in 1_u64..=1 << 52, down in 0_u32..52) {
            prop_assert!(is_nearest(sum, (weight >> down).max(1)));
        }

        #[test]
        fn large_quotient_is_the_nearest_double(sum in 1_i128 << 105..1 << 125, weight in 1_u64..=1 << 52) {
            prop_assert!(is_nearest(sum, weight));
        }
    }
}
