//! What a TLS alert means here: a sentence for the side that was refused, or that refused.

/// QUIC puts a TLS alert into a transport error code of this base (RFC 9001, section 4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// Alerts by code (RFC 8446, section 6.2) and what they mean between a coordinator and its clients.
const ALERTS: &[(u64, &str)] = &[
    (42, "the certificate is broken"),
    (43, "the certificate is not meant for this side of a connection"),
    (44, "the certificate was revoked"),
    (
        45,
        "the certificate has expired or is not valid yet; compare the clocks, or issue a new one with `tributary certs issue`",
    ),
    (46, "the certificate was not accepted"),
    (
        48,
        "the certificate was issued by an authority that is not trusted here; both sides need certificates of one federation",
    ),
    (49, "the certificate's role or federation does not belong here"),
    (51, "the private key does not belong to the certificate"),
    (116, "no certificate was given"),
    (120, "the other side does not speak this version of the protocol"),
];

/// Why a connection ended, if it was for lack of authority: `code` and `reason` of a QUIC transport error. Trying again
/// does not help then.
#[must_use]
pub fn refusal(code: u64, reason: &str) -> Option<String> {
    let alert = code.checked_sub(CRYPTO_ERROR)?;
    let (_, meaning) = ALERTS.iter().find(|(code, _)| *code == alert)?;
    // The library's own words add which check failed; they come from this side or from a verified peer.
    let detail: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
    Some(if detail.is_empty() { (*meaning).to_owned() } else { format!("{meaning} ({detail})") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_alerts_about_authority_are_final() {
        assert!(refusal(0x100 + 48, "").unwrap().contains("not trusted here"));
        assert_eq!(refusal(0x100 + 80, "internal error"), None);
        assert_eq!(refusal(0x2, "connection refused"), None);
    }
}
