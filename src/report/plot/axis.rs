//! An axis with round ticks.

use crate::report::number;

/// What an axis measures, hence how its ticks read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Rounds, clients, times: whole numbers.
    Count,
    /// A real number.
    Real,
    /// A share of one, shown in percent and never outside 0 to 1.
    Share,
}

impl Unit {
    /// `value` as a person compares it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Count => format!("{value:.0}"),
            Self::Real => number::real(value),
            Self::Share => number::percent(value),
        }
    }
}

/// Values beyond this are drawn at it, so that differences of two of them stay finite.
const VALUE_MAX: f64 = 1e300;

/// From `low` to `high`, both round, with round ticks.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    /// Where lines and labels stand.
    pub(crate) ticks: Vec<f64>,
    step: f64,
    unit: Unit,
}

impl Axis {
    /// Covers all finite `values` with about `count` steps of 1, 2 or 5 times a power of ten.
    pub(crate) fn covering(values: impl IntoIterator<Item = f64>, unit: Unit, count: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            low = low.min(value.clamp(-VALUE_MAX, VALUE_MAX));
            high = high.max(value.clamp(-VALUE_MAX, VALUE_MAX));
        }
        let size = high.abs().max(low.abs());
        if low > high || size < 1.0 / VALUE_MAX {
            (low, high) = (0.0, 1.0);
        } else if high - low < size * 1e-6 {
            // Values that are all alike stand in the middle of a little room, not on an axis of rounding errors.
            let room = match unit {
                Unit::Count => 1.0,
                Unit::Real => size * 0.05,
                Unit::Share => 0.05,
            };
            (low, high) = (low - room, high + room);
        }
        // Zero is worth showing where it is near; elsewhere it would flatten what there is to see.
        if low > 0.0 && low <= 0.5 * high && unit != Unit::Count {
            low = 0.0;
        }
        let mut step = round_step((high - low) / count);
        if unit == Unit::Count {
            step = step.max(1.0);
        }
        let (mut first, mut last) = ((low / step).floor() * step, (high / step).ceil() * step);
        if unit == Unit::Share {
            (first, last) = (first.max(0.0), last.min(1.0));
        }
        Self { low: first, high: last, ticks: ticks(first, last, step), step, unit }
    }

    /// Covers exactly the whole numbers from `first` to `last`, as an axis of rounds does.
    #[expect(clippy::cast_precision_loss, reason = "rounds and bins are far below 2^52")]
    pub(crate) fn rounds(first: u64, last: u64) -> Self {
        let (low, high) = (first as f64, last as f64);
        if first >= last {
            return Self { low: low - 1.0, high: low + 1.0, ticks: vec![low], step: 1.0, unit: Unit::Count };
        }
        let step = round_step((high - low) / 6.0).max(1.0);
        let mut ticks = ticks((low / step).ceil() * step, high, step);
        // Both ends are named; a tick that would touch an end's label gives way.
        ticks.retain(|tick| tick - low > 0.6 * step && high - tick > 0.6 * step);
        ticks.insert(0, low);
        ticks.push(high);
        Self { low, high, ticks, step, unit: Unit::Count }
    }

    /// Where `value` stands, from 0 to 1.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = (value.clamp(-VALUE_MAX, VALUE_MAX) - self.low) / (self.high - self.low);
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// A tick's label: all ticks of an axis have equally many digits.
    pub(crate) fn label(&self, tick: f64) -> String {
        // Rounding may leave −0 or 1e-17 where 0 is meant.
        let tick = if tick.abs() < self.step * 1e-6 { 0.0 } else { tick };
        match self.unit {
            Unit::Share => format!("{tick:.*}\u{a0}%", digits(self.step * 100.0), tick = tick * 100.0),
            _ if tick.abs() >= 1e6 || self.step < 1e-5 => format!("{tick:.1e}"),
            _ => format!("{tick:.*}", digits(self.step)),
        }
    }

    /// The greatest number of characters in a label.
    pub(crate) fn label_length(&self) -> usize {
        self.ticks.iter().map(|&tick| self.label(tick).chars().count()).max().unwrap_or(0)
    }
}

/// 1, 2 or 5 times a power of ten, at least about `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.99).unwrap_or(10.0);
    factor * power
}

fn ticks(first: f64, last: f64, step: f64) -> Vec<f64> {
    // At most 20 ticks, whatever rounding does.
    (0..20).map(|i| f64::from(i).mul_add(step, first)).take_while(|tick| *tick <= last + step * 0.01).collect()
}

/// Digits after the point that tell multiples of `step` apart.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 12")]
fn digits(step: f64) -> usize {
    (-(step * 1.001).log10().floor()).clamp(0.0, 12.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.ticks.iter().map(|&tick| axis.label(tick).replace('\u{a0}', "")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        for (values, unit, expected) in [
            (&[0.369, 2.06][..], Unit::Real, "0.0 0.5 1.0 1.5 2.0 2.5"),
            (&[0.55, 0.936], Unit::Share, "50% 60% 70% 80% 90% 100%"),
            (&[0.112, 0.953], Unit::Share, "0% 20% 40% 60% 80% 100%"),
            (&[1.0, 1.0], Unit::Share, "94% 96% 98% 100%"),
            (&[12.0, 13.0], Unit::Real, "12.0 12.2 12.4 12.6 12.8 13.0"),
            (&[], Unit::Real, "0.0 0.2 0.4 0.6 0.8 1.0"),
            (&[f64::NAN, f64::INFINITY, 3.0], Unit::Count, "2 3 4"),
        ] {
            assert!(labels(&Axis::covering(values.iter().copied(), unit, 5.0)).ends_with(expected), "{values:?}");
        }
    }

    #[test]
    fn extreme_values_have_finite_places() {
        for values in [[f64::MAX, f64::MIN], [f64::MAX, f64::MAX], [0.0, 0.0], [1e-320, 1e-320], [f64::NAN, f64::NAN]] {
            for unit in [Unit::Count, Unit::Real, Unit::Share] {
                let axis = Axis::covering(values, unit, 5.0);
                for value in values.into_iter().chain(axis.ticks.iter().copied()) {
                    assert!((0.0..=1.0).contains(&axis.place(value)), "{values:?} {unit:?} {axis:?}");
                }
                assert!(!labels(&axis).contains("NaN") && axis.ticks.len() <= 20);
            }
        }
    }

    #[test]
    fn rounds_name_both_ends() {
        assert_eq!(labels(&Axis::rounds(0, 50)), "0 10 20 30 40 50");
        assert_eq!(labels(&Axis::rounds(1, 30)), "1 5 10 15 20 25 30");
        assert_eq!(labels(&Axis::rounds(1, 2)), "1 2");
        assert_eq!(labels(&Axis::rounds(7, 7)), "7");
        assert!((Axis::rounds(7, 7).place(7.0) - 0.5).abs() < 1e-12);
    }
}
