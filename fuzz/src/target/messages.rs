//! Every message of the protocol, control and bulk, from either side: what can be read can be written and read again, and
//! what is measured in it can be added and shown.

use tributary_common::message::{Answer, Join, Joined, Request, Results, ToClient, ToCoordinator, Wire};
use tributary_common::metrics::Metrics;
use tributary_common::wire::codec::BODY_BYTES_MAX;
use tributary_common::wire::frame::Frame;

use super::Target;
use crate::Source;

pub(super) const TARGET: Target = Target {
    name: "messages",
    help: "bodies of all messages, by their tag; from members, and from devices that join",
    input_bytes_max: 1 + BODY_BYTES_MAX,
    heap_bytes_max: 64 * 1024,
    // The body, the message, its copy, and their encodings.
    heap_bytes_per_byte: 32,
    run,
};

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let frame = Frame { tag: source.byte(), body: source.rest().to_vec() };
    reads_again::<ToCoordinator>(&frame);
    reads_again::<ToClient>(&frame);
    reads_again::<Answer>(&frame);
    reads_again::<Join>(&frame);
    reads_again::<Joined>(&frame);
    match reads_again::<Request>(&frame) {
        Some(Request::Report { results, .. }) => {
            let Results { train, local, central } = *results;
            [train, local, central].iter().flatten().for_each(adds_up);
        }
        Some(Request::Get { .. } | Request::Put(_) | Request::Renew { .. }) | None => {}
    }
}

fn reads_again<M: Wire>(frame: &Frame) -> Option<M> {
    let message = M::of_frame(frame).ok()?;
    let once = message.to_frame().expect("what was read from a frame fits one");
    let again = M::of_frame(&once).expect("what was written can be read");
    // By their bytes: a loss may be NaN, which is equal to nothing.
    assert_eq!(again.to_frame().expect("it fitted before"), once, "a message is the same after a second journey");
    Some(message)
}

fn adds_up(metrics: &Metrics) {
    let mut sum = metrics.clone();
    if sum.merge(metrics).is_ok() {
        assert_eq!(sum.n(), 2 * metrics.n(), "metrics are sums");
    }
    let _: (f64, Option<f64>) = (sum.loss(), sum.accuracy());
    let _: String = format!("{:?}", sum.summary());
}
