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

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match text.parse::<Token>() {
        Ok(token) => assert_eq!(token.to_string().parse(), Ok(token), "a token has one form"),
        // What was pasted may be a part of a secret.
        Err(error) => assert!(!error.to_string().contains(text.trim()) || text.trim().len() < 20, "{error}"),
    }
}
