//! Media that a tape is written to.

use std::fs::File;
use std::io::{self, Write};

/// A file that is only appended to, and can be cut back to an earlier length.
pub trait Media: Send {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// Returns an error if not all of them could be written; the file may contain a part of them
    /// then.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file back to `length` bytes.
    ///
    /// # Errors
    /// Returns an error if the file cannot be cut.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Forces what was written to the disk.
    ///
    /// # Errors
    /// Returns an error if the disk does not take it.
    fn sync(&mut self) -> io::Result<()>;
}

impl Media for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Media that discards everything, for a writer whose files do not exist yet.
impl Media for io::Sink {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
