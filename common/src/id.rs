//! One type for every name and number that could be confused with another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name of a client, a federation or a run, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Whether `text` is a name: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first a letter or a digit.
///
/// Names stand in certificates, file names and log lines, hence the narrow alphabet.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= NAME_BYTES_MAX
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: 1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 . _ -, the first a letter or a digit")]
pub struct NotAName(String);

/// The name of a client or an evaluator, unique in its federation; ordered by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the `index`-th of `population` simulated clients: `client-000`, `client-001`, …, zero-padded to the
    /// population's width (at least three digits), so that the order of names is the order of indices.
    #[must_use]
    pub fn simulated(index: usize, population: usize) -> Self {
        let width = population.saturating_sub(1).to_string().len().max(3);
        Self(format!("client-{index:0width$}").into())
    }

    /// The index in such a name.
    #[must_use]
    pub fn simulated_index(&self) -> Option<usize> {
        self.0.strip_prefix("client-")?.parse().ok()
    }
}

impl FromStr for ClientId {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(NotAName(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for ClientId {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One run: 16 bytes, shown as 32 hexadecimal digits. Never an input of training: another run id, same model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub [u8; 16]);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The root of all randomness of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seed(pub u64);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $name {
            /// The one after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number!(
    /// A round of training, counted from 1.
    Round(u64)
);
number!(
    /// A try at a round, counted from 0: a round below quorum is tried again.
    Attempt(u32)
);
number!(
    /// A version of the model: 0 is the initial one, each commit makes the next.
    Version(u64)
);
number!(
    /// A place in a round's cohort, counted from 0 in the order of client names.
    Slot(u32)
);

/// What a piece of work is for; with the client's name it is the key under which an update counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ticket {
    /// Measure this version of the model; no quorum, not journaled.
    Evaluate {
        /// The version to measure.
        version: Version,
    },
    /// Train in this round and attempt.
    Train {
        /// The round.
        round: Round,
        /// The attempt at it.
        attempt: Attempt,
    },
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evaluate { version } => write!(f, "evaluation of version {version}"),
            Self::Train { round, attempt } => write!(f, "round {round} attempt {attempt}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_a_folder_or_a_uri_are_refused() {
        for bad in ["", ".", "..", "a/b", "-x", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad}");
        }
        for good in ["a", "client-000", "Hospital_7.ward", &"a".repeat(64)] {
            assert!(good.parse::<ClientId>().is_ok(), "{good}");
        }
    }

    #[test]
    fn simulated_names_sort_like_their_indices() {
        let names: Vec<_> = (0..1200).map(|i| ClientId::simulated(i, 1200)).collect();
        assert!(names.is_sorted());
        assert_eq!(ClientId::simulated(7, 10).as_str(), "client-007");
        assert_eq!(names[7].as_str(), "client-0007");
        assert!(names.iter().enumerate().all(|(index, name)| name.simulated_index() == Some(index)));
        assert_eq!("kitchen".parse::<ClientId>().unwrap().simulated_index(), None);
    }
}
