//! Signing requests: from devices that join, and from members that renew.

use tributary_certs::enrolment;

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "request",
    help: "signing requests, from whoever has a token",
    input_bytes_max: 2 * enrolment::REQUEST_BYTES_MAX,
    heap_bytes_max: 64 * 1024,
    heap_bytes_per_byte: 128,
    run,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(key) = enrolment::key_of_request(&text) {
        assert!(!key.is_empty() && text.len() <= enrolment::REQUEST_BYTES_MAX, "a key comes of a short request");
    }
}
