//! The join token: one line that a person copies, or a code that a camera reads.

use std::fmt;
use std::str::FromStr;

use tributary_common::Digest;

use crate::{Error, tls};

const SCHEME: &str = "tributary-join://";

/// The longest address in a token, in bytes: a host name has at most 253.
const ADDRESS_BYTES_MAX: usize = 260;

/// 256 random bits that are good for one member. Never printed but inside its token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        tls::fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// A secret as it came over the network.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret as it goes over the network, to a coordinator that has proved who it is.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Under this name the authority knows it. A random secret of this length needs no salt.
    pub(crate) fn hash(&self) -> Digest {
        Digest::of(&self.0)
    }
}

/// Everything that a device needs to become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Where to ask, as `host:port`.
    pub address: String,
    /// BLAKE3 of the root certificate that the other side must stand under.
    pub root: Digest,
    /// What shows that the device was invited.
    pub secret: Secret,
}

/// The text is no join token. It may be a part of one: the secret is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a join token: {0}; it has the form {SCHEME}HOST:PORT/ROOT/SECRET and is one line")]
pub struct NotAToken(&'static str);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A digest is the type for 32 bytes in hexadecimal digits; this one is of nothing.
        write!(f, "{SCHEME}{}/{}/{}", self.address, self.root, Digest(self.secret.0))
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(NotAToken("wrong beginning"))?;
        let mut parts = rest.split('/');
        let (Some(address), Some(root), Some(secret), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAToken("wrong number of parts"));
        };
        let (host, port) = address.rsplit_once(':').ok_or(NotAToken("no port in the address"))?;
        let is_address = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_address || address.len() > ADDRESS_BYTES_MAX || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(NotAToken("bad address"));
        }
        let root = root.parse().map_err(|_| NotAToken("bad fingerprint of the root"))?;
        let secret: Digest = secret.parse().map_err(|_| NotAToken("bad secret"))?;
        Ok(Self { address: address.to_owned(), root, secret: Secret(secret.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_text_and_keep_their_secret() {
        for address in ["hub.example:4434", "127.0.0.1:1", "[::1]:65535"] {
            let token =
                Token { address: address.to_owned(), root: Digest::of(b"root"), secret: Secret::random().unwrap() };
            let text = token.to_string();
            assert_eq!(format!(" {text}\n").parse::<Token>(), Ok(token.clone()));
            assert!(!text.contains(' ') && text.len() < 180, "{}", text.len());
            let secret = Digest(token.secret.to_bytes()).to_string();
            assert!(text.ends_with(&secret) && !format!("{token:?}").contains(&secret));
        }
    }

    #[test]
    fn what_is_no_token_is_said_without_repeating_it() {
        let (root, secret) = (Digest::of(b"r").to_string(), Digest::of(b"s").to_string());
        let good = format!("{SCHEME}hub:1/{root}/{secret}");
        good.parse::<Token>().unwrap();
        for bad in [
            String::new(),
            format!("https://hub:1/{root}/{secret}"),
            format!("{SCHEME}hub/{root}/{secret}"),
            format!("{SCHEME}hub:/{root}/{secret}"),
            format!("{SCHEME}hub:0/{root}/{secret}"),
            format!("{SCHEME}hub:70000/{root}/{secret}"),
            format!("{SCHEME}:1/{root}/{secret}"),
            format!("{SCHEME}h b:1/{root}/{secret}"),
            format!("{SCHEME}{}:1/{root}/{secret}", "h".repeat(300)),
            format!("{SCHEME}hub:1/{root}"),
            format!("{good}/"),
            format!("{good}0"),
            good[..good.len() - 1].to_owned(),
            format!("{SCHEME}hub:1/{}/{secret}", &root[1..]),
        ] {
            let error = bad.parse::<Token>().unwrap_err().to_string();
            assert!(!error.contains(&secret[..8]), "{error}");
        }
    }
}
