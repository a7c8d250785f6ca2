//! One file and one row for everything that reads what comes from outside.

mod client_machine;
mod coordinator_machine;
mod frames;
mod identity;
mod journal_row;
mod messages;
mod request;
mod run_file;
mod safetensors;
mod token;

/// Something that reads bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its corpus, `fuzz/corpus/NAME/`.
    pub name: &'static str,
    /// What it reads and who sends that, in a few words.
    pub help: &'static str,
    /// The longest input, in bytes: what the door before it lets through.
    pub input_bytes_max: usize,
    /// Memory that it may hold at any moment, in bytes, beside its input: this much …
    pub heap_bytes_max: u64,
    /// … and this many for each byte of the input.
    pub heap_bytes_per_byte: u64,
    /// Reads one input, at most [`Self::input_bytes_max`] long. Panics if something is wrong.
    pub run: fn(&[u8]),
}

impl Target {
    /// The most memory that an input of so many bytes may take.
    #[must_use]
    pub const fn heap_bytes_max(&self, input_bytes: usize) -> u64 {
        self.heap_bytes_max + self.heap_bytes_per_byte * input_bytes as u64
    }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    client_machine::TARGET,
    coordinator_machine::TARGET,
    frames::TARGET,
    identity::TARGET,
    journal_row::TARGET,
    messages::TARGET,
    request::TARGET,
    run_file::TARGET,
    safetensors::TARGET,
    token::TARGET,
];
