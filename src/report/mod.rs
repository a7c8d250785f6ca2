//! The report: a run folder's events told as one HTML page that needs nothing else, not even a network.
//!
//! In reading order: the story (what happened, added up from `events.jsonl`), numbers as people read them, markup, plots,
//! and the sections of the page. Deliberately not here: writing the page to disk, and anything that trains or measures.

mod error;
mod markup;
mod number;
mod page;
mod participation;
mod plot;
mod refusals;
mod section;
mod story;

pub(crate) use error::Error;
pub(crate) use page::render;
pub(crate) use story::Story;
