//! What a tape is written onto.

use std::fs::File;
use std::io::{self, Write};

/// A file that is only appended to, and can be cut back to where it was.
pub trait Media: Send {
    /// # Errors
    /// When not all of it could be written; the rest of the file may hold a part of it then.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// # Errors
    /// When the file cannot be cut.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// # Errors
    /// When the disk does not take it.
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

/// Nowhere: what a writer stands on until its files are there.
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
