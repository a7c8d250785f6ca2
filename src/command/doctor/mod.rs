//! `tributary doctor`: what would stop a run, found before it begins. One file a check; nothing is changed anywhere.

mod buffers;
mod certificate;
mod clock;
mod cpu;
mod device;
mod disk;
mod path;
mod permissions;
mod run_file;
mod udp;

pub(super) use disk::free;
use serde::Serialize;
use serde_json::json;
use tributary_client::join::coordinator_of;

use crate::arguments;
use crate::exit::{self, Failure};
use crate::output::{Format, Output};

/// How a check ended, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Verdict {
    /// Nothing needs to be done.
    Ok,
    /// A run works, worse than it could or not for long.
    Warn,
    /// A run would not work.
    Fail,
}

/// What one check found.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do, where something is to be done.
    fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), fix: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), fix: Some(fix.into()) }
    }
}

pub(super) fn run(arguments: &arguments::Doctor, output: Output) -> Result<u8, Failure> {
    let findings = examine(arguments)?;
    let is_well = findings.iter().all(|finding| finding.verdict != Verdict::Fail);
    if output.format == Format::Text {
        findings.iter().for_each(|finding| show(finding, output));
    } else {
        output.document(&json!({ "ok": is_well, "checks": findings }));
    }
    Ok(if is_well { exit::OK } else { exit::RUN_FAILED })
}

fn show(finding: &Finding, output: Output) {
    let verdict = match finding.verdict {
        Verdict::Ok => "OK",
        Verdict::Warn => "WARN",
        Verdict::Fail => "FAIL",
    };
    output.result(&format!("{verdict:<6}{:<16}{}", finding.check, finding.found));
    if let Some(fix) = &finding.fix {
        output.result(&format!("{:<22}fix: {fix}", ""));
    }
}

/// Every check that the arguments allow, this machine's first.
fn examine(arguments: &arguments::Doctor) -> Result<Vec<Finding>, Failure> {
    let mut findings = vec![cpu::check(), device::check(), buffers::check()];
    let mut run_bytes = 0;
    if let Some(file) = &arguments.file {
        let (finding, bytes) = run_file::check(file, &arguments.set);
        findings.push(finding);
        run_bytes = bytes;
    }
    findings.push(disk::check(&arguments.out, run_bytes));
    let joined = arguments.identity.as_ref().and_then(|folder| coordinator_of(folder));
    if let Some(folder) = &arguments.identity {
        findings.extend([clock::check(folder), certificate::check(folder), permissions::check(folder)]);
    }
    if let Some(coordinator) = arguments.coordinator.as_ref().or(joined.as_ref()) {
        let reached = udp::check(coordinator);
        let is_reached = reached.verdict == Verdict::Ok;
        findings.push(reached);
        if let Some(folder) = arguments.identity.as_ref().filter(|_| is_reached) {
            findings.extend(path::check(coordinator, folder)?);
        }
    }
    Ok(findings)
}
