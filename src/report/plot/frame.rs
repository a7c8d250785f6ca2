//! The frame around a plot: caption, alternative text, grid, labels and the folded table.

use super::axis::Axis;
use crate::report::markup;

/// Height of the area that is drawn in, in pixels.
pub(super) const HEIGHT: f64 = 216.0;

/// A character of a label in pixels, rounded up: no font is measured.
const CHARACTER: f64 = 7.2;

/// What every plot says of itself.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Unique on the page, a name.
    pub(super) id: &'a str,
    /// Its caption.
    pub(super) title: &'a str,
    /// What there is to see, in a sentence, for those who do not see it.
    pub(super) description: &'a str,
    /// Height of the drawing, in pixels.
    pub(super) height: f64,
    /// Room for labels above, right, below and left, in pixels.
    pub(super) margin: [f64; 4],
    /// At least so wide, in pixels; what does not fit is scrolled.
    pub(super) width_min: f64,
    /// At most so wide, in pixels; none: as wide as there is room.
    pub(super) width_max: Option<f64>,
}

impl Frame<'_> {
    /// The whole figure around `drawing`; `numbers` is the folded table, as markup.
    pub(super) fn figure(&self, drawing: &str, numbers: &str) -> String {
        let Self { id, title, description, height, margin: [above, right, below, left], width_min, width_max } = self;
        let (title, description) = (markup::text(title), markup::text(description));
        let width_max = width_max.map_or(String::new(), |width| format!("max-width:{width:.0}px;"));
        format!(
            "<figure id=\"{id}\">\n<figcaption>{title}</figcaption>\n\
             <div class=\"wide\"><div class=\"plot\" style=\"{width_max}min-width:{width_min:.0}px;\
             padding:{above:.0}px {right:.0}px {below:.0}px {left:.0}px\">\
             <svg role=\"img\" aria-labelledby=\"{id}-title {id}-description\" width=\"100%\" height=\"{height:.0}\">\n\
             <title id=\"{id}-title\">{title}</title>\n<desc id=\"{id}-description\">{description}</desc>\n\
             {drawing}</svg></div></div>\n{numbers}</figure>\n"
        )
    }
}

/// Room for the labels of an axis on the left, in pixels.
pub(super) fn left_of(axis: &Axis) -> f64 {
    room(axis.label_length()) + 10.0
}

/// Pixels that `characters` of a label take.
#[expect(clippy::cast_precision_loss, reason = "a short label")]
pub(super) fn room(characters: usize) -> f64 {
    characters as f64 * CHARACTER
}

/// Horizontal lines at the ticks of `axis`, labelled on the left.
pub(super) fn grid(axis: &Axis, height: f64) -> String {
    axis.ticks
        .iter()
        .map(|&tick| {
            let y = (1.0 - axis.place(tick)) * height;
            format!(
                "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick end\" x=\"-10\" y=\"{y:.1}\" dy=\".34em\">{}</text>\n",
                axis.label(tick)
            )
        })
        .collect()
}

/// Labels of `axis` below the drawing, and what it measures below them.
pub(super) fn below(axis: &Axis, height: f64, name: &str) -> String {
    let ticks: String = axis
        .ticks
        .iter()
        .map(|&tick| {
            let x = axis.place(tick) * 100.0;
            format!(
                "<text class=\"tick middle\" x=\"{x:.3}%\" y=\"{:.1}\">{}</text>\n",
                height + 18.0,
                axis.label(tick)
            )
        })
        .collect();
    format!("{ticks}<text class=\"tick middle\" x=\"50%\" y=\"{:.1}\">{}</text>\n", height + 36.0, markup::text(name))
}

/// Moves labels that stand at `wanted` apart so that each is at least `gap` below the one above it and, where there is
/// room, all are between 0 and `height`. The result is in the order of `wanted`.
pub(super) fn spread(wanted: &[f64], gap: f64, height: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut placed = wanted.to_vec();
    let mut least = 0.0;
    for &i in &order {
        placed[i] = placed[i].max(least);
        least = placed[i] + gap;
    }
    let mut most = height;
    for &i in order.iter().rev() {
        placed[i] = placed[i].min(most);
        most = placed[i] - gap;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_would_overlap_move_apart_and_stay_inside() {
        assert_eq!(spread(&[10.0, 100.0], 28.0, 200.0), [10.0, 100.0]);
        assert_eq!(spread(&[195.0, 190.0, 198.0], 28.0, 200.0), [172.0, 144.0, 200.0]);
        assert_eq!(spread(&[0.0, 0.0], 28.0, 200.0), [0.0, 28.0]);
        assert!(spread(&[], 28.0, 200.0).is_empty());
    }
}
