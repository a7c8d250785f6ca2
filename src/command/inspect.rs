//! `tributary inspect`, `verify` and `rollback`: a run's folder seen through its journal.

use std::path::Path;
use std::time::SystemTime;

use serde_json::json;
use tributary_common::Digest;
use tributary_common::id::{RunId, Version};
use tributary_coordinator::receipt::Receipts;
use tributary_coordinator::round::Row;
use tributary_coordinator::store::journal::Found;
use tributary_coordinator::store::{self, Chapter, History, Journal, Outcome};

use super::certs;
use crate::arguments;
use crate::exit::{self, Failure, INVALID, RUN_FAILED, of_store};
use crate::output::{Format, Output, duration, table};

pub(super) fn inspect(arguments: &arguments::Inspect, output: Output) -> Result<u8, Failure> {
    let found = Journal::look(&arguments.folder).map_err(|error| of_store(&error))?;
    let empty = || Failure::new(INVALID, format!("the journal in `{}` has no beginning", arguments.folder.display()));
    let history = History::of(&found).ok_or_else(empty)?;
    if let Some(receipt) = arguments.receipt {
        return of_receipt(&arguments.folder, &found, history.run, receipt, output);
    }
    if output.format != Format::Text {
        output.document(&json!(history));
        return Ok(exit::OK);
    }
    output.fact("run", &history.run.to_string());
    output.fact("configuration", &history.config.short());
    output.fact("stands on", &format!("version {}, {}", history.version, history.model.short()));
    output.fact("journal", &format!("{} rows by {} processes", history.rows, history.processes));
    output.fact("served for", &duration(history.seconds));
    if !history.chapters.is_empty() {
        let header = ["round", "attempt", "asked", "came", "weight", "took", "outcome"];
        output.result(&format!("\n{}", table(&header, history.chapters.iter().map(line))));
    }
    Ok(exit::OK)
}

/// Says which update a receipt is of.
fn of_receipt(folder: &Path, found: &Found, run: RunId, receipt: Digest, output: Output) -> Result<u8, Failure> {
    let receipts = Receipts::look(folder, run).map_err(|error| {
        Failure::new(
            INVALID,
            format!("could not read the key of the run's receipts in `{}`: {error}", folder.display()),
        )
    })?;
    let Some(Row::UpdateAccepted { ticket, client, weight, digest }) = receipts.find(found, receipt) else {
        let text = format!("the run in `{}` gave no receipt {receipt}", folder.display());
        return Err(Failure::new(RUN_FAILED, text));
    };
    match output.format {
        Format::Text => output.result(&format!("{client}, {ticket}: update {digest} of weight {weight}")),
        Format::Json | Format::JsonLines => {
            output.document(
                &json!({ "client": client, "ticket": ticket.to_string(), "digest": digest, "weight": weight }),
            );
        }
    }
    Ok(exit::OK)
}

fn line(chapter: &Chapter) -> Vec<String> {
    let outcome = match &chapter.outcome {
        Outcome::Aborted(missing) => format!("aborted: {missing}"),
        Outcome::Closing => "closing".to_owned(),
        Outcome::Committed { version, model } => format!("version {version}, {}", model.short()),
        Outcome::Open => "open".to_owned(),
        Outcome::TakenBack => "taken back while open".to_owned(),
        Outcome::ToVersion(version) => format!("back to version {version}"),
    };
    match &chapter.part {
        Some(part) => vec![
            part.round.to_string(),
            part.attempt.to_string(),
            part.cohort.to_string(),
            part.accepted.to_string(),
            part.weight.to_string(),
            duration(chapter.seconds),
            outcome,
        ],
        None => [vec![String::new(); 6], vec![outcome]].concat(),
    }
}

pub(super) fn verify(arguments: &arguments::RunFolder, output: Output) -> Result<u8, Failure> {
    let verified = store::verify(&arguments.folder).map_err(|error| of_store(&error))?;
    match output.format {
        Format::Text => output.result(&format!(
            "whole: {} rows, {} versions up to version {}, {} updates of the open round",
            verified.rows, verified.versions, verified.version, verified.updates
        )),
        Format::Json | Format::JsonLines => output.document(&json!(verified)),
    }
    Ok(exit::OK)
}

pub(super) fn rollback(arguments: &arguments::Rollback, output: Output) -> Result<u8, Failure> {
    let folder: &Path = &arguments.folder;
    let since = certs::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let wall_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let (before, back) = store::roll_back(folder, Version(arguments.to), wall_ms).map_err(|error| of_store(&error))?;
    match output.format {
        Format::Text => output.result(&format!(
            "`{}` stood on version {} and stands on version {}, {}",
            folder.display(),
            before.version,
            back.version,
            back.model.short()
        )),
        Format::Json | Format::JsonLines => {
            output.document(&json!({ "from": before.version, "to": back.version, "model": back.model }));
        }
    }
    Ok(exit::OK)
}
