//! Loss and accuracy over rounds.

use tributary_common::metrics::Summary;

use super::section;
use crate::report::plot::{Curve, Curves, Unit};
use crate::report::story::{SIDES, Story};

/// The curves of every side that measured.
pub(super) fn learning(story: &Story) -> String {
    let title = "Learning";
    if story.rounds.is_empty() {
        return section("learning", title, "No round was committed, so there is nothing to draw yet.", "");
    }
    if story.headline().is_none() {
        let lead = "The run file asks for no evaluation (<code>[evaluate] on</code>), so nothing was measured.";
        return section("learning", title, lead, "");
    }
    let mut targets = Vec::new();
    if let Some(target) = story.targets.stop_at {
        targets.push((target, "target"));
    }
    if let Some(gate) = story.targets.gate {
        targets.push((gate, "gate"));
    }
    let plot = |id, title, unit, of: fn(&Summary) -> Option<f64>, targets| {
        Curves { id, title, unit, curves: curves(story, of), band: Vec::new(), targets }.figure()
    };
    let loss = plot("loss", "Loss", Unit::Real, |summary| summary.loss, Vec::new());
    let accuracy = if curves(story, |summary| summary.accuracy).is_empty() {
        plot("r2", "R², share of variance explained", Unit::Real, |summary| summary.r2, Vec::new())
    } else {
        plot("accuracy", "Accuracy", Unit::Share, |summary| summary.accuracy, targets)
    };
    let sides: Vec<String> = SIDES
        .into_iter()
        .filter_map(|side| {
            let summary = story.curve(side).into_values().next_back()?;
            let n = crate::report::number::count(summary.n);
            Some(format!("<b class=\"{side}\">{side}</b> on {} ({n} in the last evaluation)", super::side_name(side)))
        })
        .collect();
    let lead = format!("Each point is the model that the round committed, measured {}.", sides.join("; "));
    section("learning", title, &lead, &format!("<div class=\"pair\">\n{loss}{accuracy}</div>\n"))
}

fn curves(story: &Story, of: fn(&Summary) -> Option<f64>) -> Vec<Curve<'static>> {
    SIDES
        .into_iter()
        .map(|name| Curve {
            name,
            points: story.curve(name).into_iter().filter_map(|(round, summary)| Some((round, of(&summary)?))).collect(),
        })
        .filter(|curve| !curve.points.is_empty())
        .collect()
}
