//! The parts of the page, top to bottom. Each is a function from the story to markup that says in plain words what is
//! missing, rather than leave a gap.

mod classes;
mod clients;
mod cost;
mod heading;
mod learning;
mod notices;
mod participants;
mod reproduce;

pub(super) use heading::heading;

use super::story::Story;

/// Everything below the heading.
pub(super) fn all(story: &Story) -> String {
    [
        learning::learning(story),
        clients::clients(story),
        classes::classes(story),
        participants::participants(story),
        cost::cost(story),
        notices::notices(story),
        reproduce::reproduce(story),
    ]
    .concat()
}

/// A section under a heading of its own.
fn section(id: &str, title: &str, lead: &str, content: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-heading\">\n<h2 id=\"{id}-heading\">{title}</h2>\n<p class=\"lead\">{lead}</p>\n{content}</section>\n"
    )
}

/// What the sides are called in a sentence.
fn side_name(side: &str) -> &'static str {
    match side {
        "central" => "the evaluators’ examples",
        "local" => "the clients’ own held-out examples",
        _ => "the clients’ training examples",
    }
}
