//! Join tokens, as somebody pasted them.

use tributary_certs::enrolment::Token;

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "token",
    help: "join tokens, from a person or a camera",
    input_bytes_max: 4096,
    heap_bytes_max: 16 * 1024,
    heap_bytes_per_byte: 8,
    run,
};

/// So many hexadecimal digits in a row are no word of a message, and a quarter of a secret.
const DIGITS: usize = 16;

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match text.parse::<Token>() {
        Ok(token) => assert_eq!(token.to_string().parse(), Ok(token), "a token has one form"),
        Err(error) => {
            let error = error.to_string();
            // A part of a secret may be in what was pasted.
            let digits = text.split(|sign: char| !sign.is_ascii_hexdigit()).filter(|run| run.len() >= DIGITS);
            digits.for_each(|run| assert!(!error.contains(run), "{error}"));
        }
    }
}
