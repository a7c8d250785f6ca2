//! How a device becomes a member without anybody carrying a private key: an invitation, a request, a short-lived
//! certificate, and its renewal.
//!
//! The key is made on the device and never leaves it. The token that invites says which root to trust, so that the device
//! knows whom it talks to before it says anything, and holds a secret that is good for one member and one key.

mod invitation;
mod request;
mod token;

use std::time::Duration;

use tributary_common::identity::Identity;

pub use invitation::key_of_request;
pub use request::Request;
pub use token::{NotAToken, Secret, Token};

use crate::Error;

/// How long a token is good.
pub const INVITATION_VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// How long the answer to a request is kept: a reply that was lost on the way is said again to the same key.
pub const ANSWER_KEPT: Duration = Duration::from_secs(10 * 60);

/// How long a member's certificate is valid; it is renewed at half of that.
pub const MEMBER_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);

/// The largest request that is looked at, in bytes; ours have some 250.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// Invitations that may be open at once in one authority's folder.
pub const INVITATIONS_MAX: usize = 10_000;

/// How far a name has come with one authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A token was made and not used yet.
    Invited {
        /// How long it is still good.
        left: Duration,
    },
    /// A certificate was issued that is valid.
    Member,
    /// Neither.
    Unknown,
}

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose certificate it is.
    pub identity: Identity,
    /// The certificate and the issuing authority's, in PEM.
    pub chain: String,
    /// The roots to trust from now on, in PEM.
    pub roots: String,
}

/// Why no certificate is granted. What it says is for the one who asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotGranted {
    /// The authority itself failed; why is nobody else's business.
    #[error("the authority cannot answer now")]
    Authority(#[from] Error),
    /// Too late.
    #[error("the token has expired; ask for a new one")]
    Expired,
    /// Who trusts the roots of the coordinator would not trust this authority.
    #[error("the identity is of another authority and does not trust this one")]
    OtherAuthority,
    /// Renewal is for clients and evaluators.
    #[error("certificates of this role are not renewed here")]
    OtherRole,
    /// The member was sent away.
    #[error("the certificate was revoked")]
    Revoked,
    /// No such token.
    #[error("the token is not known here")]
    Unknown,
    /// The request is none.
    #[error("the request is not one that can be signed: {0}")]
    Unreadable(String),
    /// Somebody was here before.
    #[error("the token was used already; if that was not you, revoke the member")]
    Used,
}
