//! A confusion matrix: colour is the share of a row, text the count.

use super::frame::{Frame, room};
use crate::report::{markup, number};

/// With more classes than this, counts would not fit their cells.
const TEXT_MAX: usize = 20;

/// Characters of a class's name beside the matrix; the whole name stands in the table.
const NAME_MAX: usize = 14;

/// One plot.
#[derive(Debug)]
pub(crate) struct Heat<'a> {
    /// Unique on the page.
    pub(crate) id: &'a str,
    /// Its caption.
    pub(crate) title: &'a str,
    /// Names of the classes; a number stands for one that is missing.
    pub(crate) classes: &'a [String],
    /// Counts; rows are the true classes, columns the predicted ones.
    pub(crate) counts: &'a [Vec<u64>],
}

impl Heat<'_> {
    /// The figure, or nothing without classes.
    pub(crate) fn figure(&self) -> String {
        let size = self.counts.len();
        if size == 0 {
            return String::new();
        }
        let names: Vec<String> = (0..size).map(|class| markup::shortened(&self.name(class), NAME_MAX)).collect();
        let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(1);
        let cell = if size > TEXT_MAX { 12.0 } else { 34.0 };
        let side = number::ratio(size as u64, 1);
        let has_text = size <= TEXT_MAX;
        let is_slanted = longest > 3;
        let (left, above) = match (has_text, is_slanted) {
            (false, _) => (28.0, 26.0),
            (true, false) => (room(longest) + 34.0, 44.0),
            (true, true) => (room(longest) + 34.0, room(longest) * 0.75 + 40.0),
        };
        let right = if has_text && is_slanted { room(longest) * 0.75 } else { 4.0 };
        let cells: String =
            self.counts.iter().enumerate().map(|(row, counts)| self.row(row, counts, cell, has_text)).collect();
        let labels = if has_text { labels(&names, cell, is_slanted) } else { String::new() };
        let axes = format!(
            "<text class=\"tick middle\" x=\"50%\" y=\"{:.1}\">predicted class</text>\n\
             <text class=\"tick middle\" transform=\"translate({:.1} {:.1}) rotate(-90)\">true class</text>\n",
            -above + 14.0,
            -left + 14.0,
            cell * side / 2.0
        );
        let frame = Frame {
            id: self.id,
            title: self.title,
            description: &self.description(),
            height: cell * side,
            margin: [above, right, 4.0, left],
            width_min: (if has_text { self.text_width() } else { 6.0 }) * side + left + right,
            width_max: Some((if has_text { 56.0 } else { 14.0 }) * side + left + right),
        };
        frame.figure(&[cells, labels, axes].concat(), &self.numbers())
    }

    /// Pixels that the longest count takes, with a little air.
    fn text_width(&self) -> f64 {
        room(self.counts.iter().flatten().map(|&count| short(count).len()).max().unwrap_or(0).max(2)) + 5.0
    }

    fn name(&self, class: usize) -> String {
        self.classes.get(class).cloned().unwrap_or_else(|| class.to_string())
    }

    fn row(&self, row: usize, counts: &[u64], cell: f64, has_text: bool) -> String {
        let total = counts.iter().fold(0, |sum: u64, &n| sum.saturating_add(n));
        let width = 100.0 / number::ratio(self.counts.len() as u64, 1);
        let y = number::ratio(row as u64, 1) * cell;
        let mut cells = String::new();
        for (column, &count) in counts.iter().enumerate().take(self.counts.len()) {
            let share = number::ratio(count, total);
            let x = number::ratio(column as u64, 1) * width;
            // A lone mistake must be seen beside an empty cell: anything above zero starts at a visible tint.
            let tint = if count == 0 { 0.0 } else { 0.08 + 0.92 * share };
            cells += &format!(
                "<g><title>{} taken for {}: {} ({})</title>\
                 <rect class=\"cell\" x=\"{x:.3}%\" y=\"{y:.1}\" width=\"{width:.3}%\" height=\"{cell:.1}\" style=\"--tint:{tint:.3}\"/>",
                markup::text(&self.name(row)),
                markup::text(&self.name(column)),
                number::count(count),
                number::percent(share)
            );
            if has_text && count > 0 {
                let class = if tint > 0.55 { "count on" } else { "count" };
                cells += &format!(
                    "<text class=\"{class}\" x=\"{:.3}%\" y=\"{:.1}\" dy=\".34em\">{}</text>",
                    x + width / 2.0,
                    y + cell / 2.0,
                    short(count)
                );
            }
            cells += "</g>\n";
        }
        cells
    }

    fn description(&self) -> String {
        let diagonal: u64 = (0..self.counts.len())
            .filter_map(|class| self.counts[class].get(class))
            .fold(0, |sum, &count| sum.saturating_add(count));
        let total = self.counts.iter().flatten().fold(0, |sum: u64, &count| sum.saturating_add(count));
        let worst = self
            .counts
            .iter()
            .enumerate()
            .flat_map(|(row, counts)| counts.iter().enumerate().map(move |(column, &count)| (count, row, column)))
            .filter(|(count, row, column)| row != column && *count > 0)
            .max_by_key(|&(count, row, column)| (count, std::cmp::Reverse((row, column))));
        let worst = worst.map_or(String::new(), |(count, row, column)| {
            format!(" The most frequent mistake: {} taken for {}, {}.", self.name(row), self.name(column), times(count))
        });
        format!("{} of {} examples are on the diagonal.{worst}", number::count(diagonal), number::count(total))
    }

    fn numbers(&self) -> String {
        let names: Vec<String> = (0..self.counts.len()).map(|class| markup::text(&self.name(class))).collect();
        let heads: Vec<&str> = std::iter::once("true \\ predicted").chain(names.iter().map(String::as_str)).collect();
        let rows: Vec<Vec<String>> = self
            .counts
            .iter()
            .zip(&names)
            .map(|(counts, name)| {
                std::iter::once(name.clone()).chain(counts.iter().map(|&n| number::count(n))).collect()
            })
            .collect();
        markup::numbers(self.title, &heads, &rows)
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", number::count(count)) }
}

/// A count that fits a cell.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", count / 1_000),
        1_000_000..1_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{:.0e}", number::ratio(count, 1)),
    }
}

fn labels(names: &[String], cell: f64, is_slanted: bool) -> String {
    let width = 100.0 / number::ratio(names.len() as u64, 1);
    names
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let (name, place) = (markup::text(name), number::ratio(class as u64, 1) + 0.5);
            let x = place * width;
            let column = if is_slanted {
                format!(
                    "<svg x=\"{x:.3}%\" y=\"-8\" class=\"over\"><text class=\"tick\" transform=\"rotate(-45)\">{name}</text></svg>"
                )
            } else {
                format!("<text class=\"tick middle\" x=\"{x:.3}%\" y=\"-8\">{name}</text>")
            };
            format!("{column}<text class=\"tick end\" x=\"-8\" y=\"{:.1}\" dy=\".34em\">{name}</text>\n", place * cell)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(counts: &[Vec<u64>]) -> String {
        Heat { id: "h", title: "Confusion", classes: &["<b>".to_owned()], counts }.figure()
    }

    #[test]
    fn colour_is_by_row_and_the_worst_mistake_is_told() {
        let figure = drawn(&[vec![3, 1], vec![0, 400]]);
        assert!(figure.contains("--tint:0.770") && figure.contains("--tint:0.310"), "{figure}");
        assert!(figure.contains(
            "403 of 404 examples are on the diagonal. The most frequent mistake: &lt;b&gt; taken for 1, once."
        ));
        assert!(!figure.contains("<b>"));
    }

    #[test]
    fn classes_without_examples_and_ragged_rows_draw_without_dividing_by_zero() {
        let figure = drawn(&[vec![0, 0], vec![1, 2, 3, 4], vec![]]);
        assert!(!figure.contains("NaN"), "{figure}");
    }

    #[test]
    fn many_classes_are_drawn_without_text() {
        let figure = drawn(&vec![vec![1; 64]; 64]);
        assert!(!figure.contains("class=\"count"));
        assert_eq!(figure.matches("<rect").count(), 64 * 64);
    }
}
