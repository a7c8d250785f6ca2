//! `tributary certs`: the federation's authority.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tributary_certs::enrolment::Token;
use tributary_certs::{Authority, describe, revocation};
use tributary_common::identity::{self, Identity};

use super::federation;
use crate::arguments::{CertsCommand, Role, program, quoted};
use crate::exit::{self, Failure, INVALID, USAGE};
use crate::output::{Format, Output, code, table};

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

pub(super) fn invalid(error: tributary_certs::Error) -> Failure {
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
        CertsCommand::Invite { authority, name, role, address } => {
            invite(authority, name, (*role).into(), address.clone(), output)?;
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

/// A join token for one device.
pub(super) fn token(authority: &Authority, name: &str, role: identity::Role, address: &str) -> Result<Token, Failure> {
    let name = name.parse().map_err(|error| Failure::new(INVALID, error))?;
    let identity = Identity { federation: authority.federation().to_owned(), role, name };
    let secret = authority.invite(&identity, now()).map_err(invalid)?;
    let token = Token { address: address.to_owned(), root: authority.root(), secret };
    // What the device will read: a bad address is found here and not there.
    token.to_string().parse().map_err(|error| {
        Failure::new(USAGE, format!("`{address}` cannot stand in a token: {error}"))
            .with_hint(Some("give --address HOST:PORT"))
    })
}

fn invite(
    folder: &Path,
    name: &str,
    role: identity::Role,
    address: Option<String>,
    output: Output,
) -> Result<(), Failure> {
    let authority = Authority::open(folder).map_err(invalid)?;
    let address = address.or_else(|| federation::joining_address(folder)).ok_or_else(|| {
        Failure::new(USAGE, "it is not known where devices join")
            .with_hint(Some("start the coordinator with --authority first, or give --address HOST:PORT"))
    })?;
    let token = token(&authority, name, role, &address)?.to_string();
    if output.format != Format::Text {
        output.document(&json!({ "name": name, "role": role.as_str(), "token": token }));
        return Ok(());
    }
    // The token alone is the result, so that it can be piped to where it is needed.
    output.result(&token);
    output.show(|| code(&token));
    output.say(&format!(
        "good once, for 24 hours, for the {role} `{name}`: {} client --join TOKEN --data SOURCE",
        program()
    ));
    Ok(())
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
        let list = revoked.file.display();
        output
            .fact("next", &format!("copy {list} into the coordinator's identity folder, or start it with --authority"));
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
