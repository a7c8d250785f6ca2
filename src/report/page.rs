//! The page: head, style, sections, and where it came from.

use super::markup;
use super::section;
use super::story::Story;

/// Colours, type and layout; in a file of its own so that editors know what it is.
const STYLE: &str = include_str!("style.css");

/// The whole page. It loads nothing: no script, no font, no image from anywhere, and says so to the browser.
pub(crate) fn render(story: &Story) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{} · run report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}{}</main>\n\
         <footer><p>Written by tributary {} from <code>events.jsonl</code>, which holds every number on this page.</p></footer>\n\
         </body>\n</html>\n",
        markup::text(&story.run.name),
        section::heading(story),
        section::all(story),
        env!("CARGO_PKG_VERSION")
    )
}
