//! How a measure is spread over clients: a dot for each, stacked, or columns where there are many; quartiles below.

use super::axis::{Axis, Unit};
use super::frame::{Frame, below};
use crate::report::{markup, number};

/// More clients than this are counted in columns: dots would be too small to tell apart.
pub(crate) const DOTS_MAX: usize = 250;

/// Places along the axis at which dots stack.
const BINS: usize = 50;

/// Height of the stacks in pixels: few dots do not stand in an empty hall, many get thinner instead.
const STACK_MIN: f64 = 44.0;
const STACK_MAX: f64 = 108.0;

/// From one dot of a stack to the next, in pixels, where there is room.
const PITCH: f64 = 11.0;

/// Pixels from the foot of the stacks to the line of quartiles.
const BOX: f64 = 26.0;

/// One plot.
#[derive(Debug)]
pub(crate) struct Dots<'a> {
    /// Unique on the page.
    pub(crate) id: &'a str,
    /// Its caption.
    pub(crate) title: &'a str,
    /// What the values are.
    pub(crate) unit: Unit,
    /// Name of the measure, below the axis.
    pub(crate) measure: &'a str,
    /// Each client's name and value.
    pub(crate) clients: Vec<(&'a str, f64)>,
    /// Value of all clients together, marked.
    pub(crate) together: Option<f64>,
}

impl Dots<'_> {
    /// The figure, or nothing without clients.
    pub(crate) fn figure(&self) -> String {
        let mut sorted: Vec<f64> =
            self.clients.iter().map(|client| client.1).filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let Some(five) = five(&sorted) else { return String::new() };
        let along = Axis::covering(sorted.iter().copied().chain(self.together), self.unit, 6.0);
        let mut bins: Vec<Vec<&(&str, f64)>> = vec![Vec::new(); BINS];
        for client in self.clients.iter().filter(|client| client.1.is_finite()) {
            bins[bin(along.place(client.1))].push(client);
        }
        let highest = bins.iter().map(Vec::len).max().unwrap_or(1);
        let has_columns = self.clients.len() > DOTS_MAX;
        let wanted = if has_columns { STACK_MAX } else { PITCH * number::ratio(highest as u64, 1) };
        let stack = wanted.clamp(STACK_MIN, STACK_MAX);
        let height = stack + BOX + 10.0;
        let marks = if has_columns { columns(&bins, highest) } else { self.dots(&bins, highest, stack, &along) };
        let drawing = [
            marks,
            self.together(height, &along),
            self.quartiles(&five, height, &along),
            below(&along, height, self.measure),
        ]
        .concat();
        let shown = five.map(|value| self.unit.show(value));
        let description = format!(
            "{} over {}: lowest {}, lower quartile {}, median {}, upper quartile {}, highest {}.",
            self.measure,
            number::plural(sorted.len() as u64, "client"),
            shown[0],
            shown[1],
            shown[2],
            shown[3],
            shown[4]
        );
        let frame = Frame {
            id: self.id,
            title: self.title,
            description: &description,
            height,
            margin: [22.0, 24.0, 44.0, 24.0],
            width_min: 0.0,
            width_max: None,
        };
        frame.figure(&drawing, &self.numbers(&shown))
    }

    fn dots(&self, bins: &[Vec<&(&str, f64)>], highest: usize, stack: f64, along: &Axis) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred dots")]
        let pitch = (stack / highest as f64).min(PITCH);
        let radius = (pitch * 0.42).clamp(1.2, 4.5);
        let mut dots = String::new();
        for clients in bins {
            for (level, (name, value)) in clients.iter().enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "a few hundred dots")]
                let y = stack - pitch * (level as f64 + 0.5);
                dots += &format!(
                    "<circle class=\"client\" cx=\"{:.3}%\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{}: {}</title></circle>\n",
                    along.place(*value) * 100.0,
                    markup::text(name),
                    self.unit.show(*value)
                );
            }
        }
        dots
    }

    fn together(&self, height: f64, along: &Axis) -> String {
        self.together.map_or(String::new(), |value| {
            let x = along.place(value) * 100.0;
            let side = if x > 50.0 { ("end", -5) } else { ("start", 5) };
            format!(
                "<line class=\"target\" x1=\"{x:.3}%\" x2=\"{x:.3}%\" y1=\"-14\" y2=\"{:.1}\"/>\
                 <text class=\"note {}\" x=\"{x:.3}%\" dx=\"{}\" y=\"-5\">all together {}</text>\n",
                height,
                side.0,
                side.1,
                self.unit.show(value)
            )
        })
    }

    fn quartiles(&self, five: &[f64; 5], height: f64, along: &Axis) -> String {
        let [low, lower, median, upper, high] = five.map(|value| along.place(value) * 100.0);
        let y = height - 18.0;
        format!(
            "<line class=\"whisker\" x1=\"{low:.3}%\" x2=\"{high:.3}%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <line class=\"box\" x1=\"{lower:.3}%\" x2=\"{upper:.3}%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <circle class=\"midpoint\" cx=\"{median:.3}%\" cy=\"{y:.1}\" r=\"4.5\"><title>median {}</title></circle>\n\
             <line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"{:.1}\" y2=\"{:.1}\"/>\n",
            self.unit.show(five[2]),
            height,
            height
        )
    }

    fn numbers(&self, five: &[String; 5]) -> String {
        let names = ["lowest", "lower quartile", "median", "upper quartile", "highest"];
        let mut rows: Vec<Vec<String>> =
            names.iter().zip(five).map(|(name, value)| vec![format!("<em>{name}</em>"), value.clone()]).collect();
        let mut clients: Vec<_> = self.clients.iter().collect();
        clients.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(b.0)));
        rows.extend(clients.iter().map(|(name, value)| vec![markup::text(name), self.unit.show(*value)]));
        markup::numbers(self.title, &["client", self.measure], &rows)
    }
}

fn columns(bins: &[Vec<&(&str, f64)>], highest: usize) -> String {
    let width = 100.0 / number::ratio(BINS as u64, 1);
    bins.iter()
        .enumerate()
        .filter(|(_, stack)| !stack.is_empty())
        .map(|(place, stack)| {
            let height = STACK_MAX * number::ratio(stack.len() as u64, highest as u64);
            format!(
                "<rect class=\"client\" x=\"{:.3}%\" width=\"{:.3}%\" y=\"{:.1}\" height=\"{height:.1}\"><title>{}</title></rect>\n",
                number::ratio(place as u64, 1) * width,
                width * 0.9,
                STACK_MAX - height,
                number::plural(stack.len() as u64, "client")
            )
        })
        .collect()
}

/// Minimum, quartiles and maximum of sorted values; none of nothing.
pub(crate) fn five(sorted: &[f64]) -> Option<[f64; 5]> {
    let mut five = [0.0; 5];
    for (value, share) in five.iter_mut().zip([0.0, 0.25, 0.5, 0.75, 1.0]) {
        *value = number::quantile(sorted, share)?;
    }
    Some(five)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "0 to BINS")]
fn bin(place: f64) -> usize {
    ((place * BINS as f64) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[f64]) -> String {
        let clients = values.iter().map(|&value| ("c", value)).collect();
        Dots { id: "d", title: "T", unit: Unit::Share, measure: "accuracy", clients, together: Some(0.5) }.figure()
    }

    #[test]
    fn every_client_is_a_dot_and_clients_alike_stand_on_each_other() {
        let figure = drawn(&[0.5, 0.5, 1.0]);
        assert_eq!(figure.matches("class=\"client\"").count(), 3);
        assert!(figure.contains("cy=\"38.5\"") && figure.contains("cy=\"27.5\""), "{figure}");
        assert!(figure.contains("over 3\u{a0}clients: lowest 50.0"), "{figure}");
    }

    #[test]
    fn many_clients_are_counted_in_columns() {
        let figure = drawn(&vec![0.3; 1000]);
        assert_eq!(figure.matches("<rect class=\"client\"").count(), 1);
        assert!(!figure.contains("NaN"));
    }

    #[test]
    fn no_finite_value_is_no_figure() {
        assert_eq!(drawn(&[]), "");
        assert_eq!(drawn(&[f64::NAN]), "");
    }
}
