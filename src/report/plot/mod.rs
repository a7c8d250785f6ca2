//! Plots as inline SVG that needs no script and no font.
//!
//! Along a plot, places are percentages and paths lie in a stretched inner `<svg>` with strokes that do not scale; across
//! it, places are pixels. So a plot fills any width, a phone's too, and its text keeps its size. Colours are CSS classes:
//! the page's style decides what they are in light and dark.

mod axis;
mod columns;
mod curves;
mod dots;
mod frame;
mod heat;

pub(crate) use axis::Unit;
pub(crate) use columns::Columns;
pub(crate) use curves::{Band, Curve, Curves};
pub(crate) use dots::{DOTS_MAX, Dots, five};
pub(crate) use heat::Heat;
