//! Memory as the system tells of it in `/proc`, nothing where it does not; and what does not fit.

use crate::exit::{Failure, INVALID};
use crate::output::bytes;

/// The peak resident memory of a process of this machine, in bytes.
pub(super) fn peak(pid: u32) -> Option<u64> {
    field(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// What programs may still take of this machine's memory, in bytes.
pub(crate) fn available() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

/// Refuses what needs more than is free in a `place`; `what` begins the sentence with its verb: "2 updates take".
pub(crate) fn fits(what: &str, needed: u64, place: &str, free: u64) -> Result<(), Failure> {
    if needed <= free {
        return Ok(());
    }
    Err(Failure::new(INVALID, format!("{what} {} of {place}, {} are free", bytes(needed), bytes(free))))
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_the_process_and_of_the_machine() {
        assert!(peak(std::process::id()).is_none_or(|bytes| bytes > 1 << 20));
        assert_eq!(peak(u32::MAX), None);
        assert!(available().is_none_or(|bytes| bytes > 1 << 20));
    }
}
