//! Sizes as people type them: `256KB`, `1MB`, `1.5MiB`.

use tributary_common::parameters::PARAMETERS_BYTES_MAX;

/// The smallest model of a load, in bytes: two parameters, one of each layer.
const MODEL_BYTES_MIN: u64 = 8;

/// The largest one: what any model may have.
const MODEL_BYTES_MAX: u64 = PARAMETERS_BYTES_MAX as u64;

/// Units and their bytes; capital or small letters are the same.
const UNITS: [(&str, f64); 7] = [
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1024.0 * 1024.0),
    ("GiB", 1024.0 * 1024.0 * 1024.0),
];

/// Bytes of a model, a fraction of one rounded.
pub(super) fn model_bytes(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start()));
    let (Ok(number), Some((_, bytes))) = (number.parse::<f64>(), unit) else {
        return Err("a size is a number and B, KB, MB, GB, KiB, MiB or GiB, as in 1.5MiB".to_owned());
    };
    let size = (number * bytes).round();
    #[expect(clippy::cast_precision_loss, reason = "both bounds are powers of two")]
    let range = MODEL_BYTES_MIN as f64..=MODEL_BYTES_MAX as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is within that of u64")]
    let whole = size as u64;
    if range.contains(&size) {
        Ok(whole)
    } else {
        Err(format!("a model has from {MODEL_BYTES_MIN} B to {} GiB", MODEL_BYTES_MAX >> 30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u64, &str>) {
        match (model_bytes(text), expected) {
            (Ok(bytes), Ok(expected)) => assert_eq!(bytes, expected, "{text}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
            (result, _) => panic!("{text}: {result:?}"),
        }
    }

    #[test]
    fn sizes_are_numbers_with_a_unit() {
        check("256KB", Ok(256_000));
        check("256kb", Ok(256_000));
        check("1MB", Ok(1_000_000));
        check("1.5MiB", Ok(1_572_864));
        check("1.3 MB", Ok(1_300_000));
        check(".5GiB", Ok(1 << 29));
        for text in ["", "1", "MB", "1.2.3MB", "-1MB", "1e3MB", "1MBit", "NaNMB", "1TB"] {
            check(text, Err("as in 1.5MiB"));
        }
    }

    /// What goes wrong without it: a size of nothing, or one that no model may have, is found out by a coordinator.
    #[test]
    fn sizes_that_no_model_has_are_refused() {
        check("8B", Ok(MODEL_BYTES_MIN));
        check("64GiB", Ok(MODEL_BYTES_MAX));
        let refused = Err("from 8 B to 64 GiB");
        for text in ["0MB", "7B", "64.0001GiB", &format!("1{}GB", "0".repeat(400))] {
            check(text, refused);
        }
    }
}
