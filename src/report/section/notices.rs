//! What an operator wanted to know while it ran.

use super::section;
use crate::report::markup;
use crate::report::number::count;
use crate::report::story::Story;

/// Notices on the page; a run that repeats itself does not drown the rest.
const SHOWN_MAX: usize = 200;

/// The notices in order.
pub(super) fn notices(story: &Story) -> String {
    let title = "Notices";
    if story.notices.is_empty() {
        return section("notices", title, "None: nothing out of the ordinary was reported.", "");
    }
    let items: String = story
        .notices
        .iter()
        .take(SHOWN_MAX)
        .map(|notice| {
            let who = notice
                .client
                .as_ref()
                .map_or(String::new(), |client| format!("<b>{}</b> ", markup::text(client.as_str())));
            format!("<li>{who}{}</li>\n", markup::text(&notice.text))
        })
        .collect();
    let rest = story.notices.len().saturating_sub(SHOWN_MAX);
    let rest = if rest > 0 {
        format!(" {} more are in <code>events.jsonl</code>.", count(rest as u64))
    } else {
        String::new()
    };
    let lead = format!("In the order in which they came.{rest}");
    section("notices", title, &lead, &format!("<ul class=\"notices\">\n{items}</ul>\n"))
}
