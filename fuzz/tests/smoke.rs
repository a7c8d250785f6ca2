//! Every target over its corpus and over seeded mutations of it: nothing panics, and nothing takes more memory than declared.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tributary_common::Digest;
use tributary_common::id::{Round, Seed};
use tributary_common::rng::{self, Purpose, Stream};
use tributary_fuzz::{TARGETS, Target};

/// Mutations of each target: together a few seconds.
const MUTATIONS: u64 = 30_000;

/// Changes that one mutation is made of, at most.
const CHANGES_MAX: u64 = 6;

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{} has no corpus in {}: {error}", target.name, folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Runs one input and holds it to what its target declares. What breaks it is kept in the folder for temporary files.
fn check(target: &Target, input: &[u8], origin: &str) -> Result<(), String> {
    let mut heap = 0;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        heap = allocation_counter::measure(|| (target.run)(input)).bytes_max;
    }));
    let most = target.heap_bytes_max(input.len());
    let what = match ran {
        Ok(()) if heap <= most => return Ok(()),
        Ok(()) => format!("takes {heap} bytes, {most} are declared"),
        Err(_) => "panics".to_owned(),
    };
    let kept = std::env::temp_dir().join(format!("{}-{}", target.name, Digest::of(input).short()));
    fs::write(&kept, input).unwrap();
    Err(format!("{} {what} on {origin} ({} bytes, kept as {})", target.name, input.len(), kept.display()))
}

#[expect(clippy::disallowed_methods, reason = "how many is said from outside")]
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What goes wrong without it: a peer, a disk or a pasted line stops the process or fills its memory.
#[test]
fn no_input_stops_a_target_or_takes_more_memory_than_declared() {
    for target in TARGETS {
        let corpus = corpus(target);
        assert!(corpus.len() >= 2, "{} has {} seeds", target.name, corpus.len());
        for (path, input) in &corpus {
            assert!(input.len() <= target.input_bytes_max, "{} is too long", path.display());
            check(target, input, &path.display().to_string()).unwrap();
        }
        let seed = number("TRIBUTARY_SEED", 7);
        let mut stream = rng::stream(Seed(seed), Round(0), None, Purpose::Faults);
        for number in 0..number("TRIBUTARY_MUTATIONS", MUTATIONS) {
            let input = mutation(&mut stream, &corpus, target.input_bytes_max);
            check(target, &input, &format!("mutation {number} of seed {seed}")).unwrap();
        }
    }
}

/// What goes wrong without it: the test above passes whatever a target does.
#[test]
fn a_target_that_panics_or_takes_too_much_is_reported() {
    let run = |input: &[u8]| {
        assert!(input != b"bad", "an input that must not be");
        drop(std::hint::black_box(vec![0_u8; 1000 * input.len()]));
    };
    let (heap_bytes_max, heap_bytes_per_byte) = (500, 900);
    let target = Target { name: "itself", help: "", input_bytes_max: 9, heap_bytes_max, heap_bytes_per_byte, run };
    assert_eq!(check(&target, b"abcde", "a good input"), Ok(()));
    let greedy = check(&target, b"abcdef", "a longer one").unwrap_err();
    assert!(greedy.starts_with("itself takes 6000 bytes, 5900 are declared on a longer one (6 bytes"), "{greedy}");
    let panics = check(&target, b"bad", "a bad one").unwrap_err();
    assert!(panics.starts_with("itself panics on a bad one (3 bytes"), "{panics}");
}

/// What goes wrong without it: the corpus is refused at the first byte, and the mutations of it reach nothing.
#[test]
fn a_longer_input_than_declared_is_never_made() {
    let corpus = corpus(&TARGETS[0]);
    let mut stream = rng::stream(Seed(8), Round(0), None, Purpose::Faults);
    let lengths = (0..500).map(|_| mutation(&mut stream, &corpus, 64).len());
    let (shortest, longest) = lengths.fold((usize::MAX, 0), |(low, high), len| (low.min(len), high.max(len)));
    assert!(shortest < 8 && longest <= 64 && longest > 32, "{shortest} to {longest}");
}

/// A seed with a few changes of the kinds that fuzzers make.
fn mutation(stream: &mut Stream, corpus: &[(PathBuf, Vec<u8>)], bytes_max: usize) -> Vec<u8> {
    let mut input = pick(stream, corpus).1.clone();
    for _ in 0..=stream.below(CHANGES_MAX) {
        let other = pick(stream, corpus);
        change(stream, &mut input, &other.1);
    }
    input.truncate(bytes_max);
    input
}

fn change(stream: &mut Stream, input: &mut Vec<u8>, other: &[u8]) {
    let at = below(stream, input.len() + 1);
    match stream.below(8) {
        0 => input.truncate(at),
        1 => input.insert(at, byte(stream)),
        2 if at < input.len() => input[at] = byte(stream),
        3 if at < input.len() => input[at] ^= 1 << stream.below(8),
        4 => {
            // Lengths and numbers at the ends of their ranges.
            let number = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];
            let bytes = pick(stream, &number).to_le_bytes();
            let count = 1 << stream.below(4);
            let end = input.len().min(at + count);
            input.splice(at..end, bytes[..count].iter().copied());
        }
        5 => {
            let from = below(stream, other.len() + 1);
            let end = from + below(stream, other.len() - from + 1);
            input.splice(at..at, other[from..end].iter().copied());
        }
        6 => {
            let end = at + below(stream, input.len() - at + 1);
            let repeated = input[at..end].to_vec();
            input.splice(end..end, repeated);
        }
        _ => {
            let end = at + below(stream, input.len() - at + 1);
            input.drain(at..end);
        }
    }
}

fn byte(stream: &mut Stream) -> u8 {
    u8::try_from(stream.below(256)).unwrap()
}

fn below(stream: &mut Stream, count: usize) -> usize {
    usize::try_from(stream.below(count as u64)).unwrap()
}

fn pick<'a, T>(stream: &mut Stream, all: &'a [T]) -> &'a T {
    &all[below(stream, all.len())]
}
