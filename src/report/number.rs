//! Numbers as people read them: short where they are compared, exact where they are looked up.
//!
//! Digits are grouped by narrow no-break spaces, which no locale takes for a decimal mark.

/// What stands for a number that is not there.
pub(crate) const NONE: &str = "–";

/// A count with its digits in groups of three.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.char_indices() {
        // Four digits are read at a glance and stay together.
        if place > 0 && digits.len() > 4 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A share of one as a percentage with one digit, two above 99 %.
pub(crate) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return NONE.to_owned();
    }
    let percent = share * 100.0;
    if percent > 99.0 && percent < 100.0 { format!("{percent:.2}\u{a0}%") } else { format!("{percent:.1}\u{a0}%") }
}

/// A real number with four significant digits.
pub(crate) fn real(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        NONE.to_owned()
    } else if size > 0.0 && !(1e-4..1e6).contains(&size) {
        format!("{value:.3e}")
    } else if size < 1.0 {
        format!("{value:.4}")
    } else if size < 10.0 {
        format!("{value:.3}")
    } else if size < 100.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

/// Bytes in decimal units with three significant digits.
pub(crate) fn bytes(value: u64) -> String {
    let (unit, name) = bytes_unit(value);
    let scaled = ratio(value, unit);
    if unit == 1 {
        format!("{value}\u{a0}B")
    } else if scaled < 10.0 {
        format!("{scaled:.2}\u{a0}{name}")
    } else if scaled < 100.0 {
        format!("{scaled:.1}\u{a0}{name}")
    } else {
        format!("{scaled:.0}\u{a0}{name}")
    }
}

/// The decimal unit in which `value` is best read, and its name.
pub(crate) const fn bytes_unit(value: u64) -> (u64, &'static str) {
    match value {
        0..1_000 => (1, "B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        1_000_000_000..1_000_000_000_000 => (1_000_000_000, "GB"),
        _ => (1_000_000_000_000, "TB"),
    }
}

/// A duration, in the two units that matter.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite, positive, and saturating")]
pub(crate) fn seconds(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return NONE.to_owned();
    }
    let whole = value.round() as u64;
    match value {
        _ if value <= 0.0 => "0\u{a0}s".to_owned(),
        _ if value < 0.01 => format!("{:.2}\u{a0}ms", value * 1e3),
        _ if value < 0.9995 => format!("{:.0}\u{a0}ms", value * 1e3),
        _ if value < 9.995 => format!("{value:.2}\u{a0}s"),
        _ if value < 59.95 => format!("{value:.1}\u{a0}s"),
        _ if value < 3_599.5 => format!("{}\u{a0}min {:02}\u{a0}s", whole / 60, whole % 60),
        _ => format!("{}\u{a0}h {:02}\u{a0}min", whole / 3600, whole / 60 % 60),
    }
}

/// `1 round`, `2 rounds`.
pub(crate) fn plural(value: u64, noun: &str) -> String {
    if value == 1 { format!("1\u{a0}{noun}") } else { format!("{}\u{a0}{noun}s", count(value)) }
}

/// `part` of `whole`; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The value below which a share of `sorted` lies, interpolated linearly as R and NumPy do by default; none of nothing.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * (sorted.len().checked_sub(1)?) as f64;
    let below = place.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let plain = |text: String| text.replace(['\u{202f}', '\u{a0}'], " ");
        for (text, expected) in [
            (count(0), "0"),
            (count(1797), "1797"),
            (count(199_210), "199 210"),
            (count(u64::MAX), "18 446 744 073 709 551 615"),
            (percent(0.9361), "93.6 %"),
            (percent(0.99432), "99.43 %"),
            (percent(1.0), "100.0 %"),
            (percent(f64::NAN), "–"),
            (real(0.369_334), "0.3693"),
            (real(26.4506), "26.45"),
            (real(1e-9), "1.000e-9"),
            (real(f64::INFINITY), "–"),
            (bytes(999), "999 B"),
            (bytes(796_840), "797 kB"),
            (bytes(6_000_000), "6.00 MB"),
            (bytes(u64::MAX), "18446744 TB"),
            (seconds(0.0), "0 s"),
            (seconds(0.0042), "4.20 ms"),
            (seconds(0.12), "120 ms"),
            (seconds(12.04), "12.0 s"),
            (seconds(192.0), "3 min 12 s"),
            (seconds(7_260.0), "2 h 01 min"),
            (seconds(-1.0), "–"),
            (plural(1, "round"), "1 round"),
            (plural(0, "round"), "0 rounds"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.25), Some(3.0));
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 10.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 10.0], 0.75), Some(4.75));
        assert_eq!(quantile(&[1.0, 2.0], 1.0), Some(2.0));
    }
}
