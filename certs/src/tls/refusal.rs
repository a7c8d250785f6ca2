//! What a TLS alert means here: a sentence and a hint for the side that was refused, or that refused.

/// QUIC puts a TLS alert into a transport error code of this base (RFC 9001, section 4.8).
pub(super) const CRYPTO_ERROR: u64 = 0x100;

/// What helps in most cases.
pub(super) const ISSUE: &str = "issue a new one with `tributary certs issue`";

/// What to do about a certificate that was revoked: whoever was sent away comes back the way it came.
pub const AGAIN: &str = "if it should be let in again, make a new token with `tributary certs invite`, or issue a new one with \
    `tributary certs issue` where keys are carried by hand";

const SAME_AUTHORITY: &str = "both sides need identities that one authority issued; `tributary certs show` prints them";
const SAME_VERSION: &str = "use the same version of `tributary` on both sides";

/// The longest part of the other side's own words that is shown, in characters.
const DETAIL_CHARACTERS_MAX: usize = 240;

struct Meaning {
    /// Code of the alert (RFC 8446, section 6.2).
    alert: u64,
    sentence: &'static str,
    hint: &'static str,
}

const fn meaning(alert: u64, sentence: &'static str, hint: &'static str) -> Meaning {
    Meaning { alert, sentence, hint }
}

/// The alerts that are about authority, by code.
const MEANINGS: &[Meaning] = &[
    meaning(42, "the certificate was refused: it is broken", ISSUE),
    meaning(
        43,
        "the certificate was refused: it is not meant for this side of a connection",
        "a coordinator needs an identity of role `coordinator`, others one of role `client` or `evaluator`",
    ),
    meaning(44, "the certificate was refused: it was revoked", AGAIN),
    meaning(
        45,
        "the certificate was refused: it has expired or is not valid yet",
        "issue a new one with `tributary certs issue` or `tributary certs invite`, or compare the clocks of both machines",
    ),
    meaning(46, "the certificate was refused: its name, role or federation does not belong here", SAME_AUTHORITY),
    meaning(48, "the certificate was refused: its authority is not trusted here", SAME_AUTHORITY),
    meaning(49, "the certificate was refused: it may not enter here", SAME_AUTHORITY),
    meaning(51, "the certificate was refused: the private key is not its key", ISSUE),
    meaning(70, "the connection was refused: the two sides share no version of TLS", SAME_VERSION),
    meaning(
        116,
        "the connection was refused: no certificate was given",
        "start with `--identity` and an identity's folder",
    ),
    meaning(120, "the connection was refused: the other side speaks another version of the protocol", SAME_VERSION),
];

/// Why a connection ended, if it was for lack of authority: `code` and `reason` of a QUIC transport error, from this side
/// or from the other. The sentence ends with a hint. Trying again does not help then.
#[must_use]
pub fn refusal(code: u64, reason: &str) -> Option<String> {
    let (sentence, hint) = explain(code.checked_sub(CRYPTO_ERROR)?, reason)?;
    Some(format!("{sentence}; hint: {hint}"))
}

/// The sentence and the hint of an alert.
pub(super) fn explain(alert: u64, reason: &str) -> Option<(String, &'static str)> {
    let meaning = MEANINGS.iter().find(|meaning| meaning.alert == alert)?;
    let detail = detail(reason);
    let sentence =
        if detail.is_empty() { meaning.sentence.to_owned() } else { format!("{} ({detail})", meaning.sentence) };
    Some((sentence, meaning.hint))
}

/// Which check failed, in the words of the TLS library without its wrapping. A peer that is not verified can send any
/// text: what a terminal would obey is taken out.
fn detail(reason: &str) -> String {
    let reason = reason.strip_prefix("received fatal alert: ").map_or(reason, |_| "");
    let reason = reason.strip_prefix("invalid peer certificate: ").unwrap_or(reason);
    let inner = reason.strip_prefix("Other(OtherError(").and_then(|inner| inner.strip_suffix("))"));
    let words = inner.unwrap_or(reason);
    // "certificate expired: verification time 1795493976 (UNIX), but … (176400 seconds ago)": people want the last part.
    let words = match (words.split_once(": verification time "), words.rsplit_once('(')) {
        (Some((what, _)), Some((_, ago))) => format!("{what}, {}", ago.trim_end_matches(')')),
        _ => words.to_owned(),
    };
    words.chars().filter(|c| !c.is_control()).take(DETAIL_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_alerts_about_authority_are_final() {
        assert!(refusal(0x100 + 48, "").unwrap().contains("not trusted here"));
        assert_eq!(refusal(0x100 + 80, "internal error"), None);
        assert_eq!(refusal(0x2, "connection refused"), None);
        assert_eq!(refusal(48, ""), None);
        assert_eq!(refusal(u64::MAX, ""), None);
    }

    #[test]
    fn every_refusal_says_what_happened_and_what_to_do() {
        assert!(MEANINGS.is_sorted_by_key(|meaning| meaning.alert));
        assert_eq!(
            refusal(0x100 + 46, "invalid peer certificate: Other(OtherError(`a` is no client))").unwrap(),
            format!("{} (`a` is no client); hint: {SAME_AUTHORITY}", MEANINGS[4].sentence)
        );
        let late = "invalid peer certificate: certificate expired: verification time 9 (UNIX), \
            but certificate is not valid after 2 (7 seconds ago)";
        assert!(
            refusal(0x100 + 45, late).unwrap().contains("not valid yet (certificate expired, 7 seconds ago); hint")
        );
        assert_eq!(
            refusal(0x100 + 51, "").unwrap(),
            "the certificate was refused: the private key is not its key; hint: issue a new one with `tributary certs issue`"
        );
    }

    #[test]
    fn words_of_a_stranger_reach_no_terminal_as_they_came() {
        let words = refusal(0x100 + 42, &format!("\u{1b}[2J{}", "x".repeat(9000))).unwrap();
        assert!(!words.contains('\u{1b}') && words.len() < 600, "{words}");
    }
}
