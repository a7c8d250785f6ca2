//! How a connection ended, and what that means for the next one.

use quinn::ConnectionError;
use tributary_common::message::Done;
use tributary_common::net::close_code;

/// How one connection ended.
pub(super) enum Ended {
    /// The run is over.
    Done(Done),
    Failed(Failure),
    /// Asked to stop.
    Stopped,
}

/// Why a connection failed, in the handshake or later.
pub(super) enum Failure {
    /// Come back.
    Lost(String),
    /// Never come back.
    NotAuthorised(String),
}

impl From<&ConnectionError> for Failure {
    fn from(error: &ConnectionError) -> Self {
        match refusal(error) {
            Some(reason) => Self::NotAuthorised(reason),
            None => Self::Lost(error.to_string()),
        }
    }
}

fn refusal(error: &ConnectionError) -> Option<String> {
    match error {
        ConnectionError::TransportError(error) => tributary_certs::tls::refusal(u64::from(error.code), &error.reason),
        ConnectionError::ConnectionClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason);
            tributary_certs::tls::refusal(u64::from(close.error_code), &reason)
        }
        ConnectionError::ApplicationClosed(close) if close.error_code == close_code::NOT_ALLOWED => {
            Some(String::from_utf8_lossy(&close.reason).into_owned())
        }
        _ => None,
    }
}

/// Whether not this client alone lost it: the coordinator closed every connection, or another process of it knows nobody.
pub(super) fn is_everybodys(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ApplicationClosed(close) => close.error_code == close_code::DONE,
        error => *error == ConnectionError::Reset,
    }
}

/// Whether a newer connection of the same identity took this one's place.
pub(super) fn is_replaced(connection: &quinn::Connection) -> bool {
    let reason = connection.close_reason();
    matches!(reason, Some(ConnectionError::ApplicationClosed(close)) if close.error_code == close_code::REPLACED)
}
