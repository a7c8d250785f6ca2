//! A coordinator that gives certificates: the authority it opens, or makes when it starts for the first time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tributary_certs::enrolment::{self, Standing};
use tributary_certs::{Authority, Credentials};
use tributary_common::id::{ClientId, is_name};
use tributary_common::identity::{Identity, Role};
use tributary_coordinator::server::Issuing;

use super::certs;
use crate::arguments::{self, program, quoted};
use crate::exit::{Failure, INVALID, RUN_FAILED, USAGE};
use crate::output::Output;

/// Where `--new-federation` keeps its authority and the coordinator's identity, unless told otherwise.
const AUTHORITY: &str = "federation/authority";
const IDENTITY: &str = "federation/coordinator";

/// How long the coordinator's own certificate is valid; it is renewed at half of that, or at a start after it.
const COORDINATOR_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

/// The file in the authority's folder that says where devices join, for `tributary certs invite`.
const ADDRESS: &str = "address";

/// Who the coordinator is, and which authority gives certificates here, if any does.
pub(super) struct Federation {
    pub(super) identity: PathBuf,
    pub(super) authority: Option<PathBuf>,
}

impl Federation {
    /// As the arguments say; with `--new-federation` the folders are made when they are not there.
    pub(super) fn of(arguments: &arguments::Coordinator, run: &str, output: Output) -> Result<Self, Failure> {
        // Before anything is made: a name that is none invites nobody, and the names before it neither.
        for name in &arguments.invite {
            name.parse::<ClientId>().map_err(|error| Failure::new(USAGE, error))?;
        }
        if !arguments.new_federation {
            let identity = arguments.identity.clone().ok_or_else(|| Failure::new(USAGE, "--identity is missing"))?;
            return Ok(Self { identity, authority: arguments.authority.clone() });
        }
        let authority = arguments.authority.clone().unwrap_or_else(|| AUTHORITY.into());
        let identity = arguments.identity.clone().unwrap_or_else(|| IDENTITY.into());
        let opened = open_or_make(&authority, run, output)?;
        let validity = arguments.own_seconds.map_or(COORDINATOR_VALIDITY, Duration::from_secs);
        own_identity(&opened, &identity, validity)?;
        Ok(Self { identity, authority: Some(authority) })
    }

    /// What the server needs for giving certificates, and where devices join.
    pub(super) fn issuing(
        &self,
        arguments: &arguments::Coordinator,
        listen: SocketAddr,
    ) -> Result<Option<(Issuing, SocketAddr)>, Failure> {
        let Some(folder) = &self.authority else { return Ok(None) };
        let authority = Authority::open(folder).map_err(certs::invalid)?;
        let validity = arguments.member_seconds.map_or(enrolment::MEMBER_VALIDITY, Duration::from_secs);
        let beside = SocketAddr::new(listen.ip(), listen.port().saturating_add(1));
        Ok(Some((Issuing { authority, validity }, arguments.join_listen.unwrap_or(beside))))
    }

    /// Tells `tributary certs invite` where devices join, and invites who was named at the start.
    pub(super) fn welcome(
        &self,
        arguments: &arguments::Coordinator,
        joining: SocketAddr,
        output: Output,
    ) -> Result<(), Failure> {
        let Some(folder) = &self.authority else { return Ok(()) };
        let host = arguments.public.clone().unwrap_or_else(|| reachable(joining.ip()).to_string());
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let address = format!("{host}:{}", joining.port());
        let file = folder.join(ADDRESS);
        std::fs::write(&file, format!("{address}\n"))
            .map_err(|error| Failure::new(RUN_FAILED, format!("could not write `{}`: {error}", file.display())))?;
        output.say(&format!("devices join at {address}"));
        let authority = Authority::open(folder).map_err(certs::invalid)?;
        let invite =
            |name: &str| format!("{} certs invite {} {name}", program(), quoted(&folder.display().to_string()));
        for name in &arguments.invite {
            let identity = certs::invited(&authority, name, Role::Client)?;
            // Started again with the same arguments, it leaves one token for a device, not one for every start.
            match authority.standing(&identity, certs::now()).map_err(certs::invalid)? {
                Standing::Invited { left } => {
                    let hours = left.as_secs().div_ceil(3600);
                    output.say(&format!(
                        "{name} was invited before, its token is good for {hours} more hours; for another one: {}",
                        invite(name)
                    ));
                }
                Standing::Member => {
                    output.say(&format!("{name} is a member already; for another device: {}", invite(name)));
                }
                Standing::Unknown => {
                    let token = certs::token(&authority, &identity, &address)?;
                    output.say(&format!("{name} joins with: {} client --join {token} --data SOURCE", program()));
                }
            }
        }
        if arguments.invite.is_empty() {
            output.say(&format!("invite them with: {}", invite("NAME")));
        }
        Ok(())
    }
}

fn open_or_make(folder: &Path, run: &str, output: Output) -> Result<Authority, Failure> {
    if Authority::is_in(folder) {
        return Authority::open(folder).map_err(certs::invalid);
    }
    let name = if is_name(run) { run } else { "federation" };
    let authority = Authority::create(folder, name, certs::now()).map_err(certs::invalid)?;
    let shown = folder.display();
    output.say(&format!("a new federation `{name}` in {shown}; keep {shown}/root.key offline"));
    Ok(authority)
}

/// The coordinator's own identity, made new when less than half of its life is left.
fn own_identity(authority: &Authority, folder: &Path, validity: Duration) -> Result<(), Failure> {
    if folder.join("chain.pem").exists() {
        let held = Credentials::load(folder).map_err(certs::invalid)?;
        if certs::now() < held.renew_at() {
            return Ok(());
        }
        held.keep_endpoint_secret(folder).map_err(certs::invalid)?;
    }
    let name = "coordinator".parse().map_err(|error| Failure::new(INVALID, error))?;
    let identity = Identity { federation: authority.federation().to_owned(), role: Role::Coordinator, name };
    let issued = authority.issue(&identity, validity, certs::now()).map_err(certs::invalid)?;
    issued.replace(folder).map_err(certs::invalid)
}

/// Where devices join, as the coordinator wrote it.
pub(super) fn joining_address(authority: &Path) -> Option<String> {
    let text = std::fs::read_to_string(authority.join(ADDRESS)).ok()?;
    Some(text.trim().to_owned()).filter(|address| !address.is_empty())
}

/// The address at which others reach this machine, as far as it knows: that which it would send from. No packet is sent.
fn reachable(listen: IpAddr) -> IpAddr {
    if !listen.is_unspecified() {
        return listen;
    }
    let outward = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address for documentation (RFC 5737): any that is not on this machine will do.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    outward().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}
