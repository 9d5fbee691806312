//! A stream that is read with a time limit, so that the reader notices that a line stays unfinished.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A stream that is read.
pub trait Source: Read + Send {
    /// Reads as [`Read::read`] does, but returns `None` if nothing can be read within `patience`. A stream that
    /// cannot tell waits for as long as it takes.
    ///
    /// # Errors
    /// Fails if reading fails.
    fn read_within(&mut self, buffer: &mut [u8], patience: Option<Duration>) -> io::Result<Option<usize>> {
        let _ = patience;
        self.read(buffer).map(Some)
    }
}

// The far end is another process of ours, which passes on what it gets.
impl Source for UnixStream {}
