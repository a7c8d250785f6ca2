//! `tributary report`: a run's folder as one page.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::arguments;
use crate::exit::{self, Failure, INVALID, of_report};
use crate::output::{Format, Output};
use crate::report::{Story, render};

/// Writes the page beside the run's files.
pub(super) fn write(folder: &Path) -> Result<PathBuf, Failure> {
    write_to(folder, &folder.join("report.html"))
}

fn write_to(folder: &Path, page: &Path) -> Result<PathBuf, Failure> {
    let story = Story::read(folder).map_err(|error| of_report(&error))?;
    std::fs::write(page, render(&story)).map_err(|error| {
        Failure::new(INVALID, format!("could not write the report to `{}`: {error}", page.display()))
    })?;
    Ok(page.to_owned())
}

pub(super) fn run(arguments: &arguments::Report, output: Output) -> Result<u8, Failure> {
    let page = match &arguments.out {
        Some(page) => write_to(&arguments.folder, page)?,
        None => write(&arguments.folder)?,
    };
    match output.format {
        Format::Text => output.result(&page.display().to_string()),
        Format::Json | Format::JsonLines => output.document(&json!({ "report": page })),
    }
    Ok(exit::OK)
}
