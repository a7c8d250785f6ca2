//! Who a peer is: the one URI `tributary://<federation>/<role>/<name>` in its certificate, never a field of a message.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, is_name};

/// What a peer may be; what each role may say is one table in the coordinator, deny by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Trains on its own data.
    Client,
    /// Distributes models and adds updates.
    Coordinator,
    /// Measures models on hold-out data.
    Evaluator,
}

impl Role {
    /// All roles, in alphabetical order.
    pub const ALL: [Self; 3] = [Self::Client, Self::Coordinator, Self::Evaluator];

    /// The role as it stands in certificates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Coordinator => "coordinator",
            Self::Evaluator => "evaluator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| NotAnIdentity::new(text, "unknown role"))
    }
}

/// A verified peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The federation that the certificate belongs to.
    pub federation: String,
    /// What the peer may do.
    pub role: Role,
    /// Its name, unique in the federation.
    pub name: ClientId,
}

/// The text is no identity URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an identity: `{uri}`: {why}; expected tributary://<federation>/<role>/<name>")]
pub struct NotAnIdentity {
    uri: String,
    why: &'static str,
}

impl NotAnIdentity {
    fn new(uri: &str, why: &'static str) -> Self {
        Self { uri: uri.chars().take(200).collect(), why }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tributary://{}/{}/{}", self.federation, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = NotAnIdentity;

    fn from_str(uri: &str) -> Result<Self, Self::Err> {
        let refuse = |why| NotAnIdentity::new(uri, why);
        let rest = uri.strip_prefix("tributary://").ok_or_else(|| refuse("wrong scheme"))?;
        let mut parts = rest.split('/');
        let (Some(federation), Some(role), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse("wrong number of parts"));
        };
        if !is_name(federation) {
            return Err(refuse("bad federation name"));
        }
        let role = role.parse().map_err(|_| refuse("unknown role"))?;
        let name = name.parse().map_err(|_| refuse("bad name"))?;
        Ok(Self { federation: federation.to_owned(), role, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_an_identity() {
        let good = "tributary://north/client/ward-7";
        assert_eq!(good.parse::<Identity>().unwrap().to_string(), good);
        for bad in [
            "",
            "tributary://",
            "http://north/client/ward-7",
            "tributary://north/client",
            "tributary://north/client/a/b",
            "tributary://north/admin/a",
            "tributary:///client/a",
            "tributary://north/client/",
            "tributary://n*/client/a",
            "tributary://north/client/a?b",
            "tributary://north/Client/a",
            "tributary://north/client/%61",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
