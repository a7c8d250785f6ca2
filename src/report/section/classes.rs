//! Which classes are told apart, and which are taken for another.

use tributary_common::event::{ClassLine, Evaluation};

use super::{section, side_name};
use crate::report::markup;
use crate::report::number::{count, percent};
use crate::report::plot::Heat;
use crate::report::story::{SIDES, Story};

/// Classes that the table shows at once; more are scrolled, and above this many the rest is left to `events.jsonl`.
const LINES_MAX: usize = 1000;

/// Up to this many classes, the matrix and the table stand side by side.
const PAIR_MAX: usize = 12;

/// The confusion matrix and the table of classes.
pub(super) fn classes(story: &Story) -> String {
    let title = "Classes";
    if story.run.classes.is_empty() {
        return section("classes", title, "The model predicts a number, so there are no classes to confuse.", "");
    }
    let found = SIDES.into_iter().find_map(|side| Some((side, story.measured.get(side)?.classes.as_ref()?)));
    let Some((side, evaluation)) = found else {
        return section("classes", title, "No evaluation of all examples together has counted classes.", "");
    };
    let round = story.round_of(evaluation.version);
    let lead = format!("The model of round {round} on {}. Colour is the share of a row.", side_name(side));
    let heat = evaluation.confusion.as_ref().map_or_else(
        || "<p>Above 64 classes only counts per class are kept, so there is no matrix.</p>\n".to_owned(),
        |counts| {
            Heat { id: "confusion", title: "True classes against predicted ones", classes: &story.run.classes, counts }
                .figure()
        },
    );
    // Beside the table a large matrix would have to be scrolled.
    let class = if story.run.classes.len() <= PAIR_MAX { "pair" } else { "stack" };
    section("classes", title, &lead, &format!("<div class=\"{class}\">\n{heat}{}</div>\n", lines(evaluation)))
}

fn lines(evaluation: &Evaluation) -> String {
    let lines = &evaluation.per_class;
    if lines.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = lines.iter().take(LINES_MAX).map(row).collect();
    let rest = lines.len().saturating_sub(LINES_MAX);
    let rest = if rest > 0 {
        format!("<p>{} more are in <code>events.jsonl</code>.</p>", count(rest as u64))
    } else {
        String::new()
    };
    format!(
        "<figure id=\"per-class\">\n<figcaption>Precision, recall and F1 of each class</figcaption>\n{}{rest}</figure>\n",
        markup::table(&["class", "precision", "recall", "F1", "examples"], &rows)
    )
}

fn row(line: &ClassLine) -> Vec<String> {
    let ClassLine { class, precision, recall, f1, support } = line;
    let shares = [precision, recall, f1].map(|share| {
        let width = share.clamp(0.0, 1.0) * 100.0;
        format!(
            "{}<span class=\"meter\" aria-hidden=\"true\"><span style=\"width:{width:.1}%\"></span></span>",
            percent(*share)
        )
    });
    [markup::text(class)].into_iter().chain(shares).chain([count(*support)]).collect()
}
