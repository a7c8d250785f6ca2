//! The exact sum on one thread: an update of the CNN added, two sums merged, the mean taken.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tributary_common::parameters::Dtype;
use tributary_common::sum::{BITS_DEFAULT, Sum, Weight};

/// Parameters of the CNN.
const COUNT: usize = 1_663_370;

fn weight() -> Weight {
    Weight::new(600).expect("a constant in range")
}

/// Differences as training makes them: small, of both signs.
fn update() -> Vec<u8> {
    let value = |i: u16| (f32::from(i.wrapping_mul(40_503)) / 65_536.0 - 0.5) * 0.01;
    (0_u16..=u16::MAX).cycle().take(COUNT).flat_map(|i| value(i).to_le_bytes()).collect()
}

fn sum(len: usize) -> Sum {
    Sum::new(len, BITS_DEFAULT).expect("constants in range")
}

fn folded(update: &[u8]) -> Sum {
    let mut sum = sum(COUNT);
    sum.admit(weight()).expect("the first update fits");
    sum.fold_bytes(0, Dtype::F32, update, weight()).expect("values in range");
    sum
}

/// As bytes that came over the network, in spans of that many values.
#[divan::bench(args = [4_096, 65_536, COUNT], sample_count = 50)]
fn fold_bytes(bencher: Bencher<'_, '_>, span: usize) {
    let update = update();
    // A new sum each time: one that is added to without end would widen.
    bencher.counter(BytesCount::new(update.len())).with_inputs(|| folded(&update)).bench_local_refs(|sum| {
        sum.admit(weight()).expect("two updates fit");
        for (at, bytes) in update.chunks(4 * span).enumerate() {
            sum.fold_bytes(at * span, Dtype::F32, black_box(bytes), weight()).expect("values in range");
        }
    });
}

/// What `a[i] += b[i]` over single precision takes: the fold should be bound by memory as this is.
#[divan::bench(sample_count = 50)]
fn fold_plain_addition(bencher: Bencher<'_, '_>) {
    let (mut left, right) = (vec![0.0_f32; COUNT], vec![1e-3_f32; COUNT]);
    bencher.counter(BytesCount::new(4 * COUNT)).bench_local(|| {
        black_box(&mut left).iter_mut().zip(black_box(&right)).for_each(|(sum, value)| *sum += value);
    });
}

#[divan::bench(sample_count = 50)]
fn fold_merge(bencher: Bencher<'_, '_>) {
    let other = folded(&update());
    bencher.counter(ItemsCount::new(COUNT)).with_inputs(|| other.clone()).bench_local_refs(|sum| {
        sum.merge(black_box(&other)).expect("two sums of one shape");
    });
}

#[divan::bench(sample_count = 50)]
fn fold_mean(bencher: Bencher<'_, '_>) {
    let (sum, mut mean) = (folded(&update()), vec![0.0; COUNT]);
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        black_box(&sum).mean_into_f64(0..COUNT, black_box(&mut mean)).expect("the range is the sum's");
    });
}
