//! `tributary certs`: the federation's authority.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tributary_certs::{Authority, describe, revocation};
use tributary_common::identity::{self, Identity};

use crate::arguments::{CertsCommand, Role, program, quoted};
use crate::exit::{self, Failure, INVALID};
use crate::output::{Format, Output, table};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[expect(clippy::disallowed_methods, reason = "certificates are valid from now on")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

impl From<Role> for identity::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Client => Self::Client,
            Role::Coordinator => Self::Coordinator,
            Role::Evaluator => Self::Evaluator,
        }
    }
}

fn invalid(error: tributary_certs::Error) -> Failure {
    let hint = error.hint();
    Failure::new(INVALID, error).with_hint(hint)
}

pub(super) fn run(command: &CertsCommand, output: Output) -> Result<u8, Failure> {
    match command {
        CertsCommand::Init { folder, federation } => {
            let authority = Authority::create(folder, federation, now()).map_err(invalid)?;
            let shown = folder.display();
            if output.format == Format::Text {
                output.result(&format!(
                    "authority of `{}` in {shown}; keep {shown}/root.key offline",
                    authority.federation()
                ));
                let (program, folder) = (program(), quoted(&shown.to_string()));
                output.fact("next", &format!("{program} certs issue {folder} hub --role coordinator --out hub"));
            } else {
                output.document(&json!({ "federation": authority.federation(), "folder": folder }));
            }
        }
        CertsCommand::Issue { authority, name, role, out, days } => {
            let authority = Authority::open(authority).map_err(invalid)?;
            let validity = DAY * u32::try_from(*days).expect("bounded by the argument's range");
            let credentials = issue(&authority, (*role).into(), name, validity, out)?;
            if output.format == Format::Text {
                output.result(&format!("{credentials} in {}, valid for {days} days", out.display()));
            } else {
                output.document(&json!({ "identity": credentials.to_string(), "folder": out }));
            }
        }
        CertsCommand::Revoke { authority, name, to } => revoke(authority, name, to, output)?,
        CertsCommand::Show { path } => show(path, output)?,
    }
    Ok(exit::OK)
}

/// Issues one identity into a folder.
pub(super) fn issue(
    authority: &Authority,
    role: identity::Role,
    name: &str,
    validity: Duration,
    out: &Path,
) -> Result<Identity, Failure> {
    let name = name.parse().map_err(|error| Failure::new(INVALID, error))?;
    let identity = Identity { federation: authority.federation().to_owned(), role, name };
    authority.issue(&identity, validity, now()).and_then(|credentials| credentials.save(out)).map_err(invalid)?;
    Ok(identity)
}

/// Takes back a member's certificates and hands the new list to the coordinators that are at hand.
fn revoke(authority: &Path, name: &str, to: &[PathBuf], output: Output) -> Result<(), Failure> {
    let name = name.parse().map_err(|error| Failure::new(INVALID, error))?;
    let authority = Authority::open(authority).map_err(invalid)?;
    let revoked = authority.revoke(&name, now()).map_err(invalid)?;
    to.iter().try_for_each(|identity| revocation::install(&revoked.file, identity)).map_err(invalid)?;
    if output.format != Format::Text {
        output.document(&json!({ "name": name, "certificates": revoked.certificates, "file": revoked.file }));
        return Ok(());
    }
    output.result(&format!(
        "{} certificate(s) of `{name}` revoked in {}",
        revoked.certificates,
        revoked.file.display()
    ));
    if to.is_empty() {
        output.result(&format!(
            "next            copy {} into the coordinator's identity folder; it is in use within two seconds",
            revoked.file.display()
        ));
    }
    if revoked.roles.contains(&identity::Role::Coordinator) {
        output.say("clients read no list: they trust this coordinator until its certificate expires");
    }
    Ok(())
}

fn show(path: &Path, output: Output) -> Result<(), Failure> {
    let found = describe(path).map_err(invalid)?;
    let seconds = now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let left = |end: i64| (end - i64::try_from(seconds).unwrap_or(i64::MAX)) / 86_400;
    if output.format == Format::Text {
        let rows = found.iter().map(|one| {
            vec![
                one.subject.clone(),
                format!("{} days", left(one.not_after)),
                one.fingerprint.short(),
                one.file.clone(),
            ]
        });
        output.result(&table(&["certificate", "expires in", "fingerprint", "file"], rows));
    } else {
        let all: Vec<_> = found
            .iter()
            .map(|one| {
                json!({ "subject": one.subject, "serial": one.serial, "not_before": one.not_before,
                        "not_after": one.not_after, "fingerprint": one.fingerprint, "file": one.file })
            })
            .collect();
        output.document(&json!(all));
    }
    Ok(())
}
