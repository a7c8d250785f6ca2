//! The one command.

#[expect(dead_code, unused_imports, reason = "the command line that reads and renders is not there yet")]
mod report;

fn main() {}
