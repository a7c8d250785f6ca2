//! `tributary certs`: the federation's authority.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tributary_certs::enrolment::{Secret, Token};
use tributary_certs::revocation::{self, Revoked};
use tributary_certs::{Authority, describe};
use tributary_common::id::ClientId;
use tributary_common::identity::{self, Identity};

use super::federation;
use crate::arguments::{CertsCommand, Role, program, quoted};
use crate::exit::{self, Failure, INVALID, USAGE};
use crate::output::{Format, Output, code, plural, table};

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

/// Whom a token is for.
pub(super) fn invited(authority: &Authority, name: &str, role: identity::Role) -> Result<Identity, Failure> {
    let name = name.parse().map_err(|error| Failure::new(INVALID, error))?;
    Ok(Identity { federation: authority.federation().to_owned(), role, name })
}

/// A join token for one device.
pub(super) fn token(authority: &Authority, identity: &Identity, address: &str) -> Result<Token, Failure> {
    let token = |secret| Token { address: address.to_owned(), root: authority.root(), secret };
    // What the device will read: a bad address is found here and not there, and before anybody is invited.
    token(Secret::from_bytes([0; 32])).to_string().parse::<Token>().map_err(|error| {
        Failure::new(USAGE, format!("`{address}` cannot stand in a token: {error}"))
            .with_hint(Some("give --address HOST:PORT"))
    })?;
    authority.invite(identity, now()).map(token).map_err(invalid)
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
    let token = token(&authority, &invited(&authority, name, role)?, &address)?.to_string();
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

/// Takes back a member's certificates and invitations and hands the new list to the coordinators that are at hand. Saying
/// it again finishes what was begun.
fn revoke(folder: &Path, name: &str, to: &[PathBuf], output: Output) -> Result<(), Failure> {
    let name = name.parse().map_err(|error| Failure::new(INVALID, error))?;
    let authority = Authority::open(folder).map_err(invalid)?;
    let revoked = authority.revoke(&name, now()).map_err(invalid)?;
    let installed = revoked.file.as_ref().map_or_else(Vec::new, |list| {
        to.iter().map(|identity| (identity, revocation::install(list, identity))).collect()
    });
    if output.format == Format::Text {
        output.result(&taken_back(&name, &revoked));
        for (identity, _) in installed.iter().filter(|(_, result)| result.is_ok()) {
            output.result(&format!("the list is in {}", identity.display()));
        }
        if let Some(list) = &revoked.file {
            tell_where_it_holds(folder, list, to, output);
        }
        if revoked.roles.contains(&identity::Role::Coordinator) {
            output.say("clients read no list: they trust this coordinator until its certificate expires");
        }
    } else {
        let done: Vec<_> =
            installed.iter().filter(|(_, result)| result.is_ok()).map(|(identity, _)| identity).collect();
        output.document(&json!({
            "name": name, "certificates": revoked.certificates, "before": revoked.before,
            "invitations": revoked.invitations, "file": revoked.file, "installed": done,
        }));
    }
    let failed = installed.into_iter().find_map(|(_, result)| result.err());
    failed.map_or(Ok(()), |error| {
        let list = revoked.file.as_ref().expect("a list was to be installed").display();
        let hint = error.hint().unwrap_or_else(|| "see to it that the folder can be written".to_owned());
        Err(Failure::new(INVALID, &error)
            .with_hint(Some(format!("{hint}; then say the same again, or copy {list} into it"))))
    })
}

/// One line: what is taken back now, and what was before.
fn taken_back(name: &ClientId, revoked: &Revoked) -> String {
    let mut parts = Vec::new();
    let file = revoked.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    if revoked.certificates > 0 {
        parts.push(format!("{} of `{name}` revoked in {file}", plural(revoked.certificates, "certificate")));
    }
    if revoked.before > 0 {
        parts.push(format!("{} of `{name}` revoked before", plural(revoked.before, "certificate")));
    }
    if revoked.invitations > 0 {
        parts.push(format!("{} of `{name}` taken back", plural(revoked.invitations, "open invitation")));
    }
    parts.join(", ")
}

/// A list that no coordinator reads keeps nobody out.
fn tell_where_it_holds(authority: &Path, list: &Path, to: &[PathBuf], output: Output) {
    let list = list.display();
    if federation::joining_address(authority).is_some() {
        output.say("a coordinator that runs with this authority reads the list by itself, within seconds");
    } else if to.is_empty() {
        let copy = format!("copy {list} into the coordinator's identity folder, or say the same again with --to DIR");
        output.fact("next", &copy);
    }
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
