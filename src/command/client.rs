//! `tributary client`: takes part in a run with this machine's data.

use serde_json::json;
use tributary_client::cli;

use crate::exit::{self, Failure};
use crate::output::{Format, Output};

pub(super) fn run(arguments: &cli::Arguments, output: Output) -> Result<u8, Failure> {
    if !arguments.check {
        return cli::run(arguments, move |text| output.say(text));
    }
    let fit = cli::check(arguments)?;
    match output.format {
        Format::Text => output
            .result(&format!("the data fit: {} examples to train on, {} to measure on", fit.examples, fit.held_out)),
        Format::Json | Format::JsonLines => {
            output.document(&json!({ "fits": true, "examples": fit.examples, "held_out": fit.held_out }));
        }
    }
    Ok(exit::OK)
}
