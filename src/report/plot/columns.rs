//! Amounts by round or bin: stacked columns, with the names of the parts beside the last one.

use super::axis::{Axis, Unit};
use super::frame::{self, Frame, grid, spread};
use crate::report::markup;
use crate::report::number::ratio;

/// Height of the drawing in pixels.
const HEIGHT: f64 = 150.0;

/// One plot.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    /// Unique on the page.
    pub(crate) id: &'a str,
    /// Its caption.
    pub(crate) title: &'a str,
    /// What there is to see, in a sentence.
    pub(crate) description: &'a str,
    /// What the columns are: `round`.
    pub(crate) along: &'a str,
    /// Names of the parts of a column, from the foot up; each is also a CSS class. One alone is not named.
    pub(crate) parts: &'a [&'a str],
    /// Each column's number, parts, and what a pointer on it reads.
    pub(crate) columns: Vec<(u64, Vec<f64>, String)>,
    /// From one column's number to the next one's.
    pub(crate) step: u64,
    /// The folded table, as markup.
    pub(crate) numbers: String,
}

impl Columns<'_> {
    /// The figure, or nothing without columns.
    pub(crate) fn figure(&self) -> String {
        let (Some(first), Some(last)) = (self.columns.first(), self.columns.last()) else { return String::new() };
        let sums = self.columns.iter().map(|(_, parts, _)| parts.iter().sum::<f64>());
        let across = Axis::covering(sums.chain([0.0]), Unit::Real, 4.0);
        let names = if self.parts.len() > 1 { self.parts.iter().map(|name| name.len()).max().unwrap_or(0) } else { 0 };
        let frame = Frame {
            id: self.id,
            title: self.title,
            description: self.description,
            height: HEIGHT,
            margin: [14.0, frame::room(names) + 16.0, 44.0, frame::left_of(&across)],
            width_min: 0.0,
            width_max: None,
        };
        let count = (last.0 - first.0) / self.step + 1;
        let width = 100.0 / ratio(count, 1);
        let middle = |number: u64| (ratio((number - first.0) / self.step, 1) + 0.5) * width;
        let bars: String =
            self.columns.iter().map(|column| self.bar(column, middle(column.0), width, &across)).collect();
        let ticks: String = Axis::rounds(first.0, last.0)
            .ticks
            .iter()
            .filter_map(|&tick| {
                self.columns.iter().map(|column| column.0).find(|&n| format!("{n}") == format!("{tick:.0}"))
            })
            .map(|n| {
                format!("<text class=\"tick middle\" x=\"{:.3}%\" y=\"{:.1}\">{n}</text>\n", middle(n), HEIGHT + 18.0)
            })
            .collect();
        let name = format!(
            "<text class=\"tick middle\" x=\"50%\" y=\"{:.1}\">{}</text>\n",
            HEIGHT + 36.0,
            markup::text(self.along)
        );
        let drawing = [grid(&across, HEIGHT), bars, ticks, name, self.names(&last.1, &across)].concat();
        frame.figure(&drawing, &self.numbers)
    }

    fn bar(&self, (_, parts, hint): &(u64, Vec<f64>, String), middle: f64, width: f64, across: &Axis) -> String {
        // Neighbours keep a gap until columns are hair-thin.
        let wide = if self.columns.len() > 150 { width } else { width * 0.78 };
        let mut foot = 0.0;
        let bars: String = parts
            .iter()
            .zip(self.parts)
            .map(|(part, name)| {
                let (low, high) = (across.place(foot), across.place(foot + part));
                foot += part;
                format!(
                    "<rect class=\"bar {name}\" x=\"{:.3}%\" width=\"{wide:.3}%\" y=\"{:.1}\" height=\"{:.1}\"/>",
                    middle - wide / 2.0,
                    (1.0 - high) * HEIGHT,
                    (high - low) * HEIGHT
                )
            })
            .collect();
        format!("<g><title>{}</title>{bars}</g>\n", markup::text(hint))
    }

    fn names(&self, parts: &[f64], across: &Axis) -> String {
        if self.parts.len() < 2 {
            return String::new();
        }
        let mut foot = 0.0;
        let wanted: Vec<f64> = parts
            .iter()
            .map(|part| {
                foot += part;
                (1.0 - across.place(foot - part / 2.0)) * HEIGHT
            })
            .collect();
        self.parts
            .iter()
            .zip(spread(&wanted, 16.0, HEIGHT))
            .map(|(name, y)| {
                format!("<text class=\"label {name}\" x=\"100%\" dx=\"9\" y=\"{y:.1}\" dy=\".34em\">{name}</text>\n")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_on_each_other_and_are_named_beside_the_last_column() {
        let columns = vec![(1, vec![1.0, 1.0], "two".to_owned()), (2, vec![2.0, 2.0], "<four>".to_owned())];
        let figure = Columns {
            id: "bytes",
            title: "Bytes",
            description: "Four.",
            along: "round",
            parts: &["sent", "received"],
            columns,
            step: 1,
            numbers: String::new(),
        }
        .figure();
        assert!(
            figure.contains("<rect class=\"bar received\" x=\"55.500%\" width=\"39.000%\" y=\"0.0\" height=\"75.0\"/>"),
            "{figure}"
        );
        assert!(figure.contains(">received</text>") && figure.contains("&lt;four&gt;"), "{figure}");
    }

    #[test]
    fn a_column_of_nothing_has_no_height_and_no_column_is_no_figure() {
        let mut plot = Columns {
            id: "time",
            title: "Time",
            description: "Nothing.",
            along: "round",
            parts: &["seconds"],
            columns: vec![(1, vec![0.0], String::new())],
            step: 1,
            numbers: String::new(),
        };
        let figure = plot.figure();
        assert!(figure.contains("height=\"0.0\"/>") && !figure.contains("NaN"), "{figure}");
        plot.columns.clear();
        assert_eq!(plot.figure(), "");
    }
}
