//! Updates that are kept until they are folded.

use std::io;
use std::ops::Range;

use tributary_common::parameters::Parameters;

/// An update that is kept until it is folded or its round closes, and read by several threads.
pub trait Kept: Send + Sync {
    /// The bytes in `range` of the packed update: where they lie, or read into `scratch`.
    ///
    /// # Errors
    /// The disk.
    fn read<'a>(&'a self, range: Range<usize>, scratch: &'a mut Vec<u8>) -> io::Result<&'a [u8]>;
}

impl Kept for Parameters {
    fn read<'a>(&'a self, range: Range<usize>, _: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        Ok(&self.bytes()[range])
    }
}
