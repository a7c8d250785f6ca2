//! Values over rounds: lines with their names at their ends, a band of quartiles, and targets.

use super::axis::{Axis, Unit};
use super::frame::{self, Frame, HEIGHT, grid, spread};
use crate::report::markup;

/// More points than this have no dots at all, which keeps the page of a long run small.
const DOTS_MAX: usize = 200;

/// Up to this many points are shown; of more, a dot is shown only under the pointer.
const SHOWN_MAX: usize = 12;

/// Pixels that a two-line label at the end of a curve takes.
const LABEL: f64 = 30.0;

/// One line.
#[derive(Debug)]
pub(crate) struct Curve<'a> {
    /// Its name, shown at its end; also its CSS class.
    pub(crate) name: &'a str,
    /// Round and value, by round; values that are not there are left out.
    pub(crate) points: Vec<(u64, f64)>,
}

/// Minimum, quartiles and maximum over clients, by round.
pub(crate) type Band = Vec<(u64, [f64; 5])>;

/// A plot over rounds.
#[derive(Debug)]
pub(crate) struct Curves<'a> {
    /// Unique on the page.
    pub(crate) id: &'a str,
    /// Its caption.
    pub(crate) title: &'a str,
    /// What the values are.
    pub(crate) unit: Unit,
    /// The lines; the first is the one that matters most.
    pub(crate) curves: Vec<Curve<'a>>,
    /// Behind the lines, if the plot is of many clients.
    pub(crate) band: Band,
    /// Values to reach, with what reaching them means.
    pub(crate) targets: Vec<(f64, &'a str)>,
}

impl Curves<'_> {
    /// The figure, or nothing if there is no value at all.
    pub(crate) fn figure(&self) -> String {
        let rounds: Vec<u64> =
            self.curves.iter().flat_map(|curve| &curve.points).map(|point| point.0).chain(self.band_rounds()).collect();
        let (Some(&first), Some(&last)) = (rounds.iter().min(), rounds.iter().max()) else { return String::new() };
        let along = Axis::rounds(first, last);
        let values = self.curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        let spreads = self.band.iter().flat_map(|(_, five)| *five);
        let across = Axis::covering(values.chain(spreads).chain(self.targets.iter().map(|t| t.0)), self.unit, 5.0);
        let names = self.curves.iter().map(|curve| curve.name.chars().count()).max().unwrap_or(0).max(7);
        let frame = Frame {
            id: self.id,
            title: self.title,
            description: &self.description(),
            height: HEIGHT,
            margin: [14.0, frame::room(names) + 16.0, 44.0, frame::left_of(&across)],
            width_min: 0.0,
            width_max: None,
        };
        let drawing = [
            grid(&across, HEIGHT),
            frame::below(&along, HEIGHT, "round"),
            self.target_lines(&across),
            self.paths(&along, &across),
            self.dots(&along, &across),
            self.ends(&along, &across),
        ]
        .concat();
        frame.figure(&drawing, &self.numbers())
    }

    fn band_rounds(&self) -> impl Iterator<Item = u64> {
        self.band.iter().map(|(round, _)| *round)
    }

    /// What happens, for those who do not see it.
    fn description(&self) -> String {
        let mut text = String::new();
        for curve in &self.curves {
            let (Some(first), Some(last)) = (curve.points.first(), curve.points.last()) else { continue };
            let values = || curve.points.iter().map(|point| point.1);
            let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
            text += &format!(
                "{}: {} in round {}, {} in round {}; lowest {}, highest {}. ",
                curve.name,
                self.unit.show(first.1),
                first.0,
                self.unit.show(last.1),
                last.0,
                self.unit.show(low),
                self.unit.show(high)
            );
        }
        if let Some((round, [low, _, _, _, high])) = self.band.last() {
            let (low, high) = (self.unit.show(*low), self.unit.show(*high));
            text += &format!("In round {round}, clients are between {low} and {high}. ");
        }
        for (value, name) in &self.targets {
            text += &format!("A line marks the {name} of {}. ", self.unit.show(*value));
        }
        text.trim_end().to_owned()
    }

    fn target_lines(&self, across: &Axis) -> String {
        self.targets
            .iter()
            .map(|(value, name)| {
                let y = (1.0 - across.place(*value)) * HEIGHT;
                format!(
                    "<line class=\"target\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                     <text class=\"note\" x=\"0\" dx=\"4\" y=\"{:.1}\">{} {}</text>\n",
                    if y < 16.0 { y + 14.0 } else { y - 5.0 },
                    markup::text(name),
                    self.unit.show(*value)
                )
            })
            .collect()
    }

    fn paths(&self, along: &Axis, across: &Axis) -> String {
        let point = |round: u64, value: f64| {
            #[expect(clippy::cast_precision_loss, reason = "rounds are far below 2^52")]
            let x = along.place(round as f64) * 1000.0;
            format!("{x:.2},{:.2}", (1.0 - across.place(value)) * HEIGHT)
        };
        let mut paths = String::new();
        if self.band.len() > 1 {
            for (low, high, class) in [(0, 4, "range"), (1, 3, "quartiles")] {
                let there = self.band.iter().map(|(round, five)| point(*round, five[high]));
                let back = self.band.iter().rev().map(|(round, five)| point(*round, five[low]));
                let points = there.chain(back).collect::<Vec<_>>().join(" ");
                paths += &format!("<polygon class=\"{class}\" points=\"{points}\"/>\n");
            }
        }
        for curve in self.curves.iter().rev() {
            let points: Vec<_> = curve.points.iter().map(|&(round, value)| point(round, value)).collect();
            paths += &format!("<polyline class=\"curve {}\" points=\"{}\"/>\n", curve.name, points.join(" "));
        }
        format!(
            "<svg viewBox=\"0 0 1000 {HEIGHT:.0}\" preserveAspectRatio=\"none\" width=\"100%\" height=\"{HEIGHT:.0}\">\n{paths}</svg>\n"
        )
    }

    fn dots(&self, along: &Axis, across: &Axis) -> String {
        let mut dots = String::new();
        for curve in self.curves.iter().rev() {
            for &(round, value) in curve.points.iter().filter(|_| curve.points.len() <= DOTS_MAX) {
                #[expect(clippy::cast_precision_loss, reason = "rounds are far below 2^52")]
                let x = along.place(round as f64) * 100.0;
                let is_last = curve.points.last().is_some_and(|last| last.0 == round);
                let quiet = if is_last || curve.points.len() <= SHOWN_MAX { "" } else { " quiet" };
                dots += &format!(
                    "<circle class=\"dot {}{quiet}\" cx=\"{x:.3}%\" cy=\"{:.1}\" r=\"4\"><title>{}, round {round}: {}</title></circle>\n",
                    curve.name,
                    (1.0 - across.place(value)) * HEIGHT,
                    curve.name,
                    self.unit.show(value)
                );
            }
        }
        dots
    }

    /// Names and last values, beside the ends of the lines.
    fn ends(&self, along: &Axis, across: &Axis) -> String {
        let ends: Vec<_> = self.curves.iter().filter_map(|curve| Some((curve.name, *curve.points.last()?))).collect();
        let wanted: Vec<f64> = ends.iter().map(|(_, (_, value))| (1.0 - across.place(*value)) * HEIGHT).collect();
        let placed = spread(&wanted, LABEL, HEIGHT - 14.0);
        ends.iter()
            .zip(placed)
            .map(|((name, (round, value)), y)| {
                #[expect(clippy::cast_precision_loss, reason = "rounds are far below 2^52")]
                let x = if ends.len() == 1 { along.place(*round as f64) * 100.0 } else { 100.0 };
                format!(
                    "<text class=\"label {name}\" x=\"{x:.3}%\" dx=\"9\" y=\"{:.1}\">{name}</text>\
                     <text class=\"label value\" x=\"{x:.3}%\" dx=\"9\" y=\"{:.1}\">{}</text>\n",
                    y - 2.0,
                    y + 12.0,
                    self.unit.show(*value)
                )
            })
            .collect()
    }

    fn numbers(&self) -> String {
        if !self.band.is_empty() {
            let rows: Vec<Vec<String>> = self
                .band
                .iter()
                .map(|(round, five)| {
                    std::iter::once(round.to_string()).chain(five.map(|value| self.unit.show(value))).collect()
                })
                .collect();
            let heads = ["round", "lowest", "lower quartile", "median", "upper quartile", "highest"];
            return markup::numbers(self.title, &heads, &rows);
        }
        let mut rounds = std::collections::BTreeMap::<u64, Vec<String>>::new();
        for (column, curve) in self.curves.iter().enumerate() {
            for &(round, value) in &curve.points {
                let row = rounds
                    .entry(round)
                    .or_insert_with(|| vec![crate::report::number::NONE.to_owned(); self.curves.len()]);
                row[column] =
                    if self.unit == Unit::Share { format!("{:.3}\u{a0}%", value * 100.0) } else { exact(value) };
            }
        }
        let rows: Vec<Vec<String>> =
            rounds.into_iter().map(|(round, row)| std::iter::once(round.to_string()).chain(row).collect()).collect();
        let heads: Vec<&str> = std::iter::once("round").chain(self.curves.iter().map(|curve| curve.name)).collect();
        markup::numbers(self.title, &heads, &rows)
    }
}

/// Six digits after the point where that says something.
fn exact(value: f64) -> String {
    if value.abs() < 1e6 { format!("{value:.6}") } else { format!("{value:.6e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: Vec<(u64, f64)>) -> String {
        let curves = vec![Curve { name: "central", points }];
        Curves { id: "loss", title: "Loss", unit: Unit::Real, curves, band: Vec::new(), targets: Vec::new() }.figure()
    }

    #[test]
    fn no_value_is_no_figure_and_one_value_is_a_dot_in_the_middle() {
        assert_eq!(drawn(Vec::new()), "");
        let figure = drawn(vec![(1, 0.5)]);
        assert!(figure.contains("cx=\"50.000%\""), "{figure}");
        assert!(figure.contains("<title id=\"loss-title\">Loss</title>"), "{figure}");
    }

    #[test]
    fn line_runs_from_the_first_round_to_the_last() {
        let figure = drawn(vec![(1, 2.0), (2, 1.0), (3, 0.0)]);
        assert!(figure.contains("points=\"0.00,0.00 500.00,108.00 1000.00,216.00\""), "{figure}");
        assert!(figure.contains("<tr><th scope=\"row\">2</th><td>1.000000</td></tr>"), "{figure}");
    }

    #[test]
    fn thousands_of_rounds_are_a_line_without_dots() {
        let figure = drawn((0..3000).map(|round| (round, 1.0)).collect());
        assert!(!figure.contains("<circle"));
        assert!(figure.contains("<polyline"));
    }

    #[test]
    fn wild_values_never_reach_a_coordinate() {
        let figure = drawn(vec![(1, f64::MAX), (2, f64::MIN), (3, 1e-320)]);
        assert!(!figure.contains("NaN") && !figure.contains("inf"), "{figure}");
    }
}
