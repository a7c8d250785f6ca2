//! Messages to bytes and back: what a coordinator says most often, and the digest of what travels beside it.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tributary_common::Digest;
use tributary_common::id::{Attempt, Round, Slot, Ticket, Version};
use tributary_common::message::{Offer, ToClient, Wire};
use tributary_common::parameters::{Dtype, Layout, Parameters};
use tributary_common::wire::frame::Decoder;

/// Messages that arrive in one piece.
const MESSAGES: [usize; 3] = [1, 10, 100];

fn offer() -> ToClient {
    ToClient::Offer(Offer {
        ticket: Ticket::Train { round: Round(41), attempt: Attempt(0) },
        slot: Slot(7),
        version: Version(40),
        model: Digest([7; 32]),
        bytes: 6_653_480,
        left_ms: 600_000,
    })
}

fn bytes() -> Vec<u8> {
    offer().to_frame().expect("an offer is short").to_bytes()
}

#[divan::bench]
fn wire_encode(bencher: Bencher<'_, '_>) {
    let offer = offer();
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| black_box(&offer).to_frame().expect("an offer is short").to_bytes());
}

#[divan::bench(args = MESSAGES)]
fn wire_decode(bencher: Bencher<'_, '_>, messages: usize) {
    let bytes = bytes().repeat(messages);
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        let mut decoder = Decoder::default();
        decoder.push(black_box(&bytes));
        let mut count = 0;
        while let Some(frame) = decoder.next_frame().expect("whole frames") {
            count += usize::from(ToClient::of_frame(&frame).is_ok());
        }
        assert_eq!(count, messages);
    });
}

/// Of a model with the parameters of the CNN: what a client computes before it trains.
#[divan::bench(sample_count = 50)]
fn wire_digest(bencher: Bencher<'_, '_>) {
    let layout = Layout::new([("weights", Dtype::F32, vec![1_663_370])]).expect("one tensor");
    let model = Parameters::zeros(layout);
    bencher.counter(BytesCount::new(model.bytes().len())).bench_local(|| black_box(&model).digest());
}
