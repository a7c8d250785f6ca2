//! Numbers as people read them.

/// Bytes in decimal units: `1.3 MB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// Seconds: `12 ms`, `3.4 s`, `2 min 5 s`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "minutes of a run fit")]
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 60.0 => format!("{s:.1} s"),
        s => format!("{} min {} s", (s / 60.0) as u64, (s % 60.0) as u64),
    }
}

/// `1 round`, `2 rounds`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A share: `93.6 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!([bytes(999), bytes(1_300_000), bytes(1 << 42)], ["999 B", "1.3 MB", "4.4 TB"]);
        assert_eq!([duration(0.012), duration(3.44), duration(125.0)], ["12 ms", "3.4 s", "2 min 5 s"]);
        assert_eq!([plural(1, "round"), plural(0, "round")], ["1 round", "0 rounds"]);
        assert_eq!(percent(0.9361), "93.6 %");
    }
}
